"""Losses against arithmetic by hand and against timm."""

import math
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from deeper.augment.mix import Mix
from deeper.config.instantiate import build
from deeper.models.output import Output
from deeper.training.loss import AuxWeighted, BinaryCrossEntropy, CrossEntropy, training_loss
from deeper.training.schedules import Progress, linear, scaled

LABELS = torch.tensor([0, 2, 1])
MAIN = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5], [-3.0, 1.0, 4.0]])
AUX = {"inception4a": MAIN.flip(0), "inception4d": MAIN * 2}


def cross_entropy(logits, smoothing=0.0):
    losses = []
    for row, label in zip(logits.double().tolist(), LABELS.tolist(), strict=True):
        total = math.log(sum(map(math.exp, row)))
        target = [smoothing / 3 + (1 - smoothing) * (c == label) for c in range(3)]
        losses.append(sum(t * (total - x) for t, x in zip(target, row, strict=True)))
    return sum(losses) / 3


def binary(logits):
    sign = [[1 if c == label else -1 for c in range(3)] for label in LABELS.tolist()]
    terms = zip(logits.double().flatten().tolist(), [s for row in sign for s in row], strict=True)
    mean = sum(math.log1p(math.exp(-s * x)) for x, s in terms) / 9
    return mean * 2 * math.sqrt(2)  # 2·√(K − 1)


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        (CrossEntropy(0.3), cross_entropy),
        (CrossEntropy(0.3, label_smoothing=0.1), lambda x: cross_entropy(x, 0.1)),
        (BinaryCrossEntropy(0.3), binary),
    ],
)
def test_main_and_three_tenths_of_each_aux(loss, by_hand):
    parts = {tap: by_hand(logits) for tap, logits in AUX.items()}
    result = {name: float(value) for name, value in loss(Output(MAIN, AUX), LABELS).items()}
    assert result == pytest.approx(
        {
            "loss": by_hand(MAIN) + 0.3 * sum(parts.values()),
            "loss_main": by_hand(MAIN),
            "loss_aux/inception4a": parts["inception4a"],
            "loss_aux/inception4d": parts["inception4d"],
        },
        rel=1e-5,
    )


@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(0.3, 0.1), BinaryCrossEntropy()])
def test_of_mixed_labels_the_loss_is_mixed(loss):
    """All are linear in the target, so probabilities weigh the losses of whole labels."""
    others = torch.tensor([1, 2, 0])
    one, other = (F.one_hot(labels, 3).float() for labels in (LABELS, others))
    torch.testing.assert_close(loss.criterion(MAIN, one), loss.criterion(MAIN, LABELS))
    mixed = loss.criterion(MAIN, 0.7 * one + 0.3 * other)
    expected = 0.7 * loss.criterion(MAIN, LABELS) + 0.3 * loss.criterion(MAIN, others)
    torch.testing.assert_close(mixed, expected)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_binary_cross_entropy_starts_with_the_gradients_of_cross_entropy(classes):
    """It was 15.8 times as large at 1000 classes, so that a recipe's rate meant something else."""
    norms = []
    for loss in (CrossEntropy(), BinaryCrossEntropy()):
        logits = torch.zeros(4, classes, requires_grad=True)
        loss.criterion(logits, torch.arange(4) % classes).backward()
        norms.append(float(logits.grad.norm()))
    assert norms[1] == pytest.approx(norms[0], rel=1e-5)


def test_binary_cross_entropy_of_scale_1_is_timms():
    timm = pytest.importorskip("timm.loss").BinaryCrossEntropy(smoothing=0.0)
    ours = BinaryCrossEntropy(scale=1.0).criterion(MAIN, LABELS)
    torch.testing.assert_close(ours, timm(MAIN, LABELS))


def test_an_aux_weight_that_falls_to_0_at_half_of_the_training(configs):
    loss = build(configs("loss=aux_decay").loss)
    for fraction, weight in [(0, 0.3), (0.25, 0.15), (0.5, 0), (0.9, 0)]:
        assert loss.weight("inception4a", Progress(fraction, 0, 1)) == pytest.approx(weight)
    late = loss(Output(MAIN, AUX), LABELS, Progress(0.5, 5, 10))
    assert float(late["loss"]) == float(late["loss_main"])
    assert float(late["loss_aux/inception4a"]) > 0


def test_a_schedule_for_one_tap():
    falling = partial(scaled, schedule=linear, factor=0.5)
    loss = CrossEntropy({"inception4a": falling, "inception4d": 0.2})
    halfway = Progress(0.5, 1, 2)
    weights = [loss.weight(tap, halfway) for tap in ("inception4a", "inception4d")]
    assert weights == [0.25, 0.2]


class Focal(AuxWeighted):
    """A loss of the user's own, which indexes with the labels."""

    def criterion(self, logits, targets):
        p = logits.softmax(1).gather(1, targets[:, None])
        return (-((1 - p) ** 2) * p.log()).mean()


def test_mixed_labels_are_refused_for_a_loss_that_wants_indices():
    assert training_loss(Focal(), Mix()).weight("inception4a") == 0.3
    with pytest.raises(ValueError, match=r"^Focal takes class indices.*: pass mix=none"):
        training_loss(Focal(), Mix(mixup_alpha=0.2))
    training_loss(Focal(), Mix(mixup_alpha=0.2, prob=0.0))
    training_loss(CrossEntropy(), Mix(mixup_alpha=0.2))


def test_a_loss_of_torch_as_it_is():
    loss = training_loss(torch.nn.CrossEntropyLoss(label_smoothing=0.1), Mix())
    ours = CrossEntropy(0.3, label_smoothing=0.1)
    expected, found = (x(Output(MAIN, AUX), LABELS) for x in (ours, loss))
    assert {k: float(v) for k, v in found.items()} == {k: float(v) for k, v in expected.items()}


@pytest.mark.parametrize("loss", [CrossEntropy(), BinaryCrossEntropy()])
def test_without_aux_the_main_loss_is_all(loss):
    result = loss(Output(MAIN, {}), LABELS)
    assert result.keys() == {"loss", "loss_main"}
    assert result["loss"].equal(result["loss_main"])


def test_a_weight_for_each_tap():
    result = CrossEntropy({"inception4a": 0.5, "inception4d": 0.0, "unused": 9.0})(
        Output(MAIN, AUX), LABELS
    )
    expected = cross_entropy(MAIN) + 0.5 * cross_entropy(AUX["inception4a"])
    assert float(result["loss"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "known"), [({"inception4a": 0.3, "b": 1}, "inception4a, b"), ({}, "nothing")]
)
def test_a_tap_without_a_weight(weights, known):
    tap = "inception4d" if weights else "inception4a"
    message = f"loss.aux_weight names {known}, but not the head at {tap}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        CrossEntropy(weights)(Output(MAIN, AUX), LABELS)


def test_the_gradient_of_an_aux_head_is_weighted():
    main, aux = (MAIN.clone().requires_grad_() for _ in range(2))
    CrossEntropy(0.3)(Output(main, {"inception4a": aux}), LABELS)["loss"].backward()
    torch.testing.assert_close(aux.grad, 0.3 * main.grad)


@pytest.mark.parametrize("loss", [CrossEntropy(0.3, 0.1), BinaryCrossEntropy()])
def test_half_precision_is_summed_in_float32(loss):
    """Emulated on most CPUs, so three rows of it."""
    half = MAIN.bfloat16()
    result = loss(Output(half, {"inception4a": half}), LABELS)
    assert {value.dtype for value in result.values()} == {torch.float32}
    exact = loss(Output(half.float(), {"inception4a": half.float()}), LABELS)
    assert float(result["loss"]) == float(exact["loss"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(-0.1), "aux_weight=-0.1: weights must be at least 0"),
        (lambda: BinaryCrossEntropy({"a": -1}), "aux_weight={'a': -1}: weights must be at least 0"),
        (lambda: BinaryCrossEntropy(scale=0), "scale=0: must be above 0, or null"),
        (
            lambda: CrossEntropy(label_smoothing=1.0),
            "label_smoothing=1.0: must lie in 0..1 (1 excluded)",
        ),
        (
            lambda: CrossEntropy(label_smoothing=-0.1),
            "label_smoothing=-0.1: must lie in 0..1 (1 excluded)",
        ),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
