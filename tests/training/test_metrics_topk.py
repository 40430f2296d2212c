"""Exact accuracy against counting by hand, where float32 would not be exact too."""

import pytest
import torch

from deeper.training.metrics import WRONG, TopK, label_ranks


def by_hand(logits, labels, valid, k):
    right = 0
    for row, label, counts in zip(logits.tolist(), labels.tolist(), valid.tolist(), strict=True):
        ranked = sorted(range(len(row)), key=lambda c: -row[c])
        right += counts and label in ranked[:k]
    return right


@pytest.mark.parametrize("masked", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("classes", [1, 2, 3, 5, 6, 20])
def test_against_brute_force(classes, masked):
    torch.manual_seed(classes)
    metric, n, top1, top5, loss = TopK(), 0, 0, 0, 0.0
    for size in (1, 7, 16):
        logits, losses = torch.randn(size, classes), torch.rand(size)
        labels, valid = torch.randint(classes, (size,)), torch.rand(size) >= masked
        metric.update(label_ranks(logits, labels), losses, valid)
        n += int(valid.sum())
        top1 += by_hand(logits, labels, valid, 1)
        top5 += by_hand(logits, labels, valid, 5)
        loss += losses[valid].double().sum()
    assert [int(metric.n), int(metric.top1), int(metric.top5)] == [n, top1, top5]
    assert {x.dtype for x in (metric.n, metric.top1, metric.top5)} == {torch.int64}
    result = metric.compute()
    assert int(result["n"]) == n
    if n:
        assert float(result["top1"]) == top1 / n
        assert float(result["top5"]) == top5 / n
        assert float(result["loss"]) == pytest.approx(float(loss / n), rel=1e-12)
    if classes <= 5:
        assert int(metric.top5) == n


def test_padding_counts_for_nothing_whatever_it_holds():
    metric = TopK()
    losses, valid = torch.tensor([1.0, float("nan"), float("inf")]), torch.tensor([1, 0, 0]).bool()
    metric.update(label_ranks(torch.eye(3), torch.arange(3)), losses, valid)
    assert {k: float(v) for k, v in metric.compute().items()} == {
        "loss": 1, "top1": 1, "top5": 1, "n": 1
    }  # fmt: skip


def test_an_image_with_a_nan_is_wrong():
    """`topk` ranks NaN first, so that class 0 would be right."""
    metric, nan = TopK(), float("nan")
    logits = torch.tensor([[nan, nan, nan], [nan, 1.0, 0.0], [2.0, 1.0, 0.0]])
    metric.update(
        label_ranks(logits, torch.zeros(3, dtype=torch.int64)), torch.ones(3), torch.ones(3).bool()
    )
    assert [int(metric.n), int(metric.top1), int(metric.top5)] == [3, 1, 1]


def test_counts_are_exact_where_float32_is_not():
    metric = TopK()
    metric.n += 2**24  # above this, adding 1 to a float32 does nothing
    metric.top1 += 2**24
    metric.update(
        label_ranks(torch.eye(2), torch.tensor([0, 0])), torch.zeros(2), torch.ones(2).bool()
    )
    assert int(metric.n) == 2**24 + 2
    assert int(metric.top1) == 2**24 + 1
    assert float(metric.compute()["top1"]) == (2**24 + 1) / (2**24 + 2)


def test_the_loss_does_not_drift():
    metric, tenth = TopK(), torch.full((1000,), 0.1)
    logits, labels = torch.zeros(1000, 2), torch.zeros(1000, dtype=torch.int64)
    for _ in range(50):
        metric.update(label_ranks(logits, labels), tenth, torch.ones(1000).bool())
    assert float(metric.compute()["loss"]) == pytest.approx(float(tenth[0].double()), rel=1e-12)


def test_reset_starts_anew_and_half_keeps_the_counts_whole():
    metric = TopK().half()
    for _ in range(2):
        metric.update(
            label_ranks(torch.eye(3), torch.arange(3)), torch.ones(3), torch.ones(3).bool()
        )
        assert int(metric.n) == 3
        assert (metric.n.dtype, metric.loss.dtype) == (torch.int64, torch.float64)
        metric.reset()


def test_the_rank_of_a_label_is_the_number_of_classes_before_it():
    logits = torch.randperm(300, generator=torch.Generator().manual_seed(0)).float().repeat(300, 1)
    labels = torch.arange(300)
    before = (logits > logits.gather(1, labels[:, None])).sum(1)
    assert label_ranks(logits, labels).equal(before.clamp(max=WRONG).to(torch.uint8))
    logits[3, 7] = float("nan")
    assert label_ranks(logits, labels)[3] == WRONG
