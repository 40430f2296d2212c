"""Differences between an ablation and its baseline: intervals, tests and verdicts.

Runs come in pairs of one seed: the same initial weights, order of images and augmentation. Of each
pair the outcome of every test image is known, so a difference varies with the seeds and with the images.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from deeper.config.schema import Claim

LEVEL = 0.95
POWER = 0.8

MOST = 1000
"""The most pairs that are considered."""

Verdict = Literal["holds", "contradicted", "not resolved"]


@dataclass(frozen=True)
class Difference:
    """The mean over pairs of ablation − baseline, its standard error and the degrees of freedom."""

    mean: float
    error: float
    degrees: float
    pairs: int

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %; without end for one pair, whose variation over seeds is not known."""
        half = stats.t.ppf((1 + LEVEL) / 2, self.degrees) * self.error if self.pairs > 1 else np.inf
        return self.mean - half, self.mean + half

    def p_value(self, above: float) -> float:
        """One-sided, of the hypothesis that the true difference is at most `above`."""
        if self.pairs < 2:
            return 1.0
        if self.error == 0:
            return 0.0 if self.mean > above else 1.0
        return float(stats.t.sf((self.mean - above) / self.error, self.degrees))


def crossed(outcomes: NDArray[np.integer]) -> Difference:
    """Of outcomes [pairs, images]: 1 where the ablation alone is right, -1 where the baseline alone is.

    Seeds and images are crossed random effects, each pair having seen every image; their variances
    follow from mean squares, and the degrees of freedom from Satterthwaite's approximation. The
    variance is at least that of the seeds and that of the images alone, which makes it a little large.
    """
    d = outcomes.astype(np.float64)
    n, m = d.shape
    mean, by_seed, by_image = d.mean(), d.mean(1), d.mean(0)
    if n < 2:
        return Difference(float(mean), np.inf, 1, n)
    seeds = m * ((by_seed - mean) ** 2).sum() / (n - 1)
    images = n * ((by_image - mean) ** 2).sum() / (m - 1)
    rest = ((d - by_seed[:, None] - by_image + mean) ** 2).sum() / ((n - 1) * (m - 1))
    squares = np.array([seeds, images, -rest]) / (n * m)
    variance = squares.sum()
    if variance <= (least := max(seeds, images) / (n * m)):
        return Difference(float(mean), sqrt(least), n - 1, n)
    freedom = np.array([n - 1, m - 1, (n - 1) * (m - 1)])
    degrees = max(variance**2 / (squares**2 / freedom).sum(), n - 1)
    return Difference(float(mean), sqrt(variance), float(degrees), n)


def paired(differences: Sequence[float]) -> Difference:
    """Of one difference per seed, where outcomes of images are not known."""
    d = np.asarray(differences, np.float64)
    error = float(d.std(ddof=1) / sqrt(len(d))) if len(d) > 1 else np.inf
    return Difference(float(d.mean()), error, max(len(d) - 1, 1), len(d))


def detectable(deviation: float, pairs: int, degrees: float | None = None) -> float:
    """The smallest true difference that a two-sided t test at 5 % finds in 4 of 5 studies.

    `deviation` is the standard deviation of a pair's difference, known with `degrees` of freedom, which
    are pairs − 1 by default.
    """
    if pairs < 2:
        return np.inf
    degrees = degrees or pairs - 1
    limit = stats.t.ppf((1 + LEVEL) / 2, degrees)

    def missing_power(effect: float) -> float:
        return float(stats.nct.sf(limit, degrees, effect * sqrt(pairs)) - POWER)

    return deviation * float(optimize.brentq(missing_power, 1e-6, 100.0))


def pairs_needed(deviation: float, difference: float) -> int | None:
    """The fewest pairs with which `difference` is detectable; None where `MOST` are too few."""
    return _fewest(lambda n: detectable(deviation, n) <= difference)


def equivalence_pairs(deviation: float, margin: float) -> int | None:
    """The fewest pairs that show, in 4 of 5 studies, a true difference of zero to be within `margin`."""
    least = (1 + LEVEL) / 2, (1 + POWER) / 2  # of each test; both must reject
    return _fewest(lambda n: sum(stats.t.ppf(least, n - 1)) * deviation / sqrt(n) <= margin)


def _fewest(enough: Callable[[int], bool]) -> int | None:
    numbers = range(2, MOST + 1)
    place = bisect_left(numbers, True, key=enough)
    return numbers[place] if place < len(numbers) else None


def verdicts(found: Mapping[str, tuple[Claim, Difference]]) -> dict[str, Verdict]:
    """Ablation → verdict at 5 % for all claims of a table together (Holm, 1979).

    A claim of a direction holds where the difference is significant in it, and is contradicted where it
    is so in the other one. A claim of no effect holds where the difference is significantly within its
    margin (two one-sided tests), and is contradicted where it is significantly beyond.
    """
    answers: dict[str, Verdict] = dict.fromkeys(found, "not resolved")
    tests = [(*min(_tests(claim, d)), name) for name, (claim, d) in found.items()]
    # Of the two tests of a claim at most one can reject, so that both share half of its level each.
    for place, (p, verdict, name) in enumerate(sorted(tests)):
        if 2 * p > (1 - LEVEL) / (len(tests) - place):
            break
        answers[name] = verdict
    return answers


def _tests(claim: Claim, d: Difference) -> list[tuple[float, Verdict]]:
    """One-sided p values of the tests that the claim holds, and that it does not."""
    mirrored = Difference(-d.mean, d.error, d.degrees, d.pairs)
    if claim.direction == "none":
        margin = claim.margin or 0.0
        beyond = [d.p_value(margin), mirrored.p_value(margin)]
        within = [d.p_value(-margin), mirrored.p_value(-margin)]
        return [(max(within), "holds"), (min(1.0, 2 * min(beyond)), "contradicted")]
    up, down = (d, mirrored) if claim.direction == "higher" else (mirrored, d)
    return [(up.p_value(0.0), "holds"), (down.p_value(0.0), "contradicted")]
