"""Losses against arithmetic by hand."""

import math
import re

import pytest
import torch
import torch.nn.functional as F

from deeper.models.output import Output
from deeper.training.loss import BinaryCrossEntropy, CrossEntropy

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
    return sum(math.log1p(math.exp(-s * x)) for x, s in terms) / 3


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
    torch.testing.assert_close(loss.per_image(MAIN, one), loss.per_image(MAIN, LABELS))
    mixed = loss.per_image(MAIN, 0.7 * one + 0.3 * other)
    expected = 0.7 * loss.per_image(MAIN, LABELS) + 0.3 * loss.per_image(MAIN, others)
    torch.testing.assert_close(mixed, expected)


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
