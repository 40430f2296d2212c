"""The statistics against scipy and against simulations whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from deeper.config.schema import Claim
from deeper.reporting.statistics import (
    Difference,
    crossed,
    detectable,
    paired,
    pairs_needed,
    verdicts,
)


def outcomes(random, pairs, images, effect=0.0, seeds=0.01, hard=0.05):
    """Differences of two networks' answers, with effects of the seed and of the image."""
    chance = 0.8 + random.normal(0, hard, images)
    shift = effect + random.normal(0, seeds, (pairs, 1)) + random.normal(0, hard / 2, images)
    base = random.random((pairs, images)) < chance
    other = random.random((pairs, images)) < np.clip(chance + shift, 0, 1)
    return other.astype(int) - base.astype(int)


def test_over_seeds_it_is_scipys_paired_t():
    random = np.random.default_rng(0)
    a, b = random.normal(0.9, 0.01, 7), random.normal(0.88, 0.01, 7)
    found, exact = paired(a - b), stats.ttest_rel(a, b)
    assert found.interval == pytest.approx(exact.confidence_interval(0.95))
    assert 2 * found.p_value(0.0) == pytest.approx(exact.pvalue)


def test_mean_squares_are_those_of_an_analysis_of_variance():
    """Against a direct computation of the two-way layout, and its expectation."""
    d = outcomes(np.random.default_rng(1), 5, 400)
    n, m = d.shape
    rows, columns, grand = d.mean(1), d.mean(0), d.mean()
    total = ((d - grand) ** 2).sum()
    between_rows, between_columns = (
        m * ((rows - grand) ** 2).sum(),
        n * ((columns - grand) ** 2).sum(),
    )
    rest = total - between_rows - between_columns
    squares = between_rows / (n - 1), between_columns / (m - 1), rest / ((n - 1) * (m - 1))
    variance = (squares[0] + squares[1] - squares[2]) / (n * m)
    found = crossed(d)
    assert found.mean == pytest.approx(grand)
    assert found.error**2 == pytest.approx(max(variance, *squares[:2] / np.array(n * m)))
    assert found.degrees >= n - 1


def test_one_pair_has_no_interval():
    found = crossed(outcomes(np.random.default_rng(2), 1, 50))
    assert found.interval == (-np.inf, np.inf)
    assert paired([0.1]).interval == (-np.inf, np.inf)
    assert detectable(0.01, 1) == np.inf


@pytest.mark.parametrize(
    ("pairs", "factor"), [(3, 3.26), (4, 2.13), (5, 1.68), (6, 1.43), (8, 1.16), (10, 1.00)]
)
def test_the_smallest_detectable_difference(pairs, factor):
    assert detectable(0.02, pairs) == pytest.approx(0.02 * factor, rel=0.01)
    assert pairs_needed(0.02, 0.02 * factor * 1.01) == pairs
    assert pairs_needed(0.02, 1e-6) is None


VERDICTS = {
    ("lower", -0.05): "holds",
    ("lower", 0.05): "contradicted",
    ("lower", -0.001): "not resolved",
    ("higher", 0.05): "holds",
    ("none", 0.001): "holds",
    ("none", 0.05): "contradicted",
    ("none", 0.012): "not resolved",
}


@pytest.mark.parametrize(("direction", "mean"), VERDICTS)
def test_verdicts(direction, mean):
    found = {"a": (Claim(direction, margin=0.01), Difference(mean, 0.002, 20, 5))}
    assert verdicts(found)["a"] == VERDICTS[direction, mean]


def test_holm_is_stricter_with_more_claims():
    claim, weak = Claim("lower"), Difference(-0.0046, 0.002, 20, 5)
    assert verdicts({"a": (claim, weak)})["a"] == "holds"
    many = {f"{i}": (claim, Difference(0.0001, 0.002, 20, 5)) for i in range(5)}
    assert verdicts(many | {"a": (claim, weak)})["a"] == "not resolved"
    strong = Difference(-0.05, 0.002, 20, 5)
    assert verdicts(many | {"a": (claim, strong)})["a"] == "holds"


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [3, 5, 10])
def test_coverage_of_the_interval(pairs):
    random, covered, effect = np.random.default_rng(3), 0, -0.01
    repetitions = 2000
    for _ in range(repetitions):
        low, high = crossed(outcomes(random, pairs, 600, effect)).interval
        covered += low <= effect <= high
    assert covered / repetitions >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [3, 5, 10])
def test_under_the_null_few_verdicts_are_wrong(pairs):
    """A table of six claims of directions where nothing has an effect."""
    random, wrong, repetitions = np.random.default_rng(4), 0, 2000
    for _ in range(repetitions):
        found = {
            str(i): (Claim("lower" if i % 2 else "higher"), crossed(outcomes(random, pairs, 300)))
            for i in range(6)
        }
        wrong += any(verdict != "not resolved" for verdict in verdicts(found).values())
    assert wrong / repetitions <= 0.05
