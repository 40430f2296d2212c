"""Schedules at points where their value is known."""

from functools import partial
from math import cos, pi

import pytest

from deeper.config.instantiate import build, without_hydra_check
from deeper.training.schedules import (
    Progress,
    constant,
    cosine,
    linear,
    onecycle,
    paper,
    poly,
)


def at(epoch, epochs):
    return Progress(epoch / epochs, epoch, epochs)


def steps(schedule, epochs, steps_per_epoch, **options):
    """The factor of every step, as the module computes progress."""
    total = epochs * steps_per_epoch
    points = (Progress(s / total, s / steps_per_epoch, epochs) for s in range(total))
    return [schedule(point, **options) for point in points]


def test_constant():
    assert steps(constant, 3, 4) == [1.0] * 12


@pytest.mark.parametrize(
    ("epoch", "drops"), [(0, 0), (7.99, 0), (8, 1), (15.9, 1), (16, 2), (80, 10), (250, 31)]
)
def test_paper_takes_4_percent_every_8_epochs(epoch, drops):
    assert paper(at(epoch, 250)) == pytest.approx(0.96**drops, rel=1e-12)


@pytest.mark.parametrize("steps_per_epoch", [3, 7, 10009])
def test_paper_drops_exactly_at_the_epochs_first_step(steps_per_epoch):
    for epoch in (8, 16, 24):
        step = epoch * steps_per_epoch
        before, after = (paper(Progress(0, s / steps_per_epoch, 250)) for s in (step - 1, step))
        assert after == pytest.approx(0.96 * before, rel=1e-12)


def test_paper_with_other_numbers():
    assert paper(at(30, 90), factor=0.1, every_epochs=30) == pytest.approx(0.1)


@pytest.mark.parametrize(("fraction", "factor"), [(0, 1), (0.75, 0.5), (0.96, 0.2), (1, 0)])
def test_poly_is_a_square_root(fraction, factor):
    assert poly(Progress(fraction, 0, 1)) == pytest.approx(factor, abs=1e-12)


def test_poly_stays_real_past_the_end():
    assert poly(Progress(1.0001, 0, 1)) == 0
    assert poly(Progress(0.5, 0, 1), power=1) == 0.5


def test_linear_falls_to_final_at_until():
    points = [0, 0.2, 0.4, 0.7, 1.0]
    found = [linear(Progress(p, 0, 1), final=0.5, until=0.4) for p in points]
    assert found == pytest.approx([1, 0.75, 0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match="until=0: a fraction of the training"):
        linear(Progress(0, 0, 1), until=0)


def test_cosine_at_known_points():
    for epoch, factor in [(0, 1), (25, (1 + cos(pi / 4)) / 2), (50, 0.5), (100, 0)]:
        assert cosine(at(epoch, 100)) == pytest.approx(factor, abs=1e-12)
    assert cosine(at(100, 100), final=0.1) == pytest.approx(0.1)
    assert cosine(at(50, 100), final=0.1) == pytest.approx(0.55)


def test_cosine_rises_in_a_line_then_falls():
    for epoch, factor in [(1, 0.2), (2.5, 0.5), (5, 1), (52.5, 0.5)]:
        assert cosine(at(epoch, 100), warmup_epochs=5) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize("epochs", [1, 2, 5])
@pytest.mark.parametrize("warmup", [0, 1, 5, 100])
def test_cosine_takes_no_step_for_nothing(epochs, warmup):
    """However long the warm-up is: it is at most half of the training."""
    factors = steps(cosine, epochs, 6, warmup_epochs=warmup)
    assert all(0 < factor <= 1 for factor in factors)
    top = factors.index(max(factors))
    assert top <= len(factors) / 2
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)


@pytest.mark.parametrize("final", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("rise", [0.0, 0.25, 0.5])
def test_onecycle_peaks_after_its_rise_and_ends_at_final(rise, final):
    assert onecycle(Progress(rise, 0, 1), rise, final) == 1
    assert onecycle(Progress((1 + rise) / 2, 0, 1), rise, final) == pytest.approx((1 + final) / 2)
    for fraction in (1.0, 1.01):
        assert onecycle(Progress(fraction, 0, 1), rise, final) == pytest.approx(final, abs=1e-12)
    if rise:
        assert onecycle(Progress(rise / 2, 0, 1), rise, final) == pytest.approx(0.5)
    assert all(factor > 0 for factor in steps(onecycle, 2, 9, rise=rise, final=final))


def test_a_rise_to_the_end():
    assert onecycle(Progress(1.0, 1, 1), rise=1.0) <= 1


def test_a_schedule_without_hydras_checks_is_the_same():
    name = "deeper.training.schedules."
    fall = {"_target_": name + "linear", "_partial_": True, "until": 0.5}
    built = build({"_target_": name + "scaled", "_partial_": True, "factor": 0.3, "schedule": fall})
    plain = without_hydra_check(built)
    assert plain(at(1, 4)) == built(at(1, 4)) == 0.15
    assert type(plain) is type(plain.keywords["schedule"]) is partial
