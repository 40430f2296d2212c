"""The ablation table: each experiment against its recipe's baseline, paired by seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any

import numpy as np

from deeper.config.schema import Claim
from deeper.reporting import statistics
from deeper.reporting.comparable import require_comparable
from deeper.reporting.runs import BASELINE, StoredRun
from deeper.reporting.statistics import Difference, Verdict

RIGHT = {"test/top1": 1, "test/top5": 5}
"""Top-k metrics of the test images, and their k."""


@dataclass(frozen=True)
class Row:
    """An arm. All numbers of accuracy are fractions."""

    arm: str
    runs: Sequence[StoredRun]
    values: Sequence[float]
    """Of the finished runs, in the order of their seeds."""
    difference: Difference | None
    """From the baseline; None for the baseline, and where no seed has both."""
    detectable: float | None
    """The smallest difference that this number of pairs finds in 4 of 5 studies."""
    claim: Claim | None
    verdict: Verdict | None
    dead: bool
    """No better than chance, so that it answers nothing."""
    absent: Mapping[str, Sequence[int]]
    """Seeds without a result by what became of them: missing, failed, diverged …"""

    @property
    def finished(self) -> list[StoredRun]:
        return [run for run in self.runs if run.state == "finished"]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values)) if self.values else np.nan

    @property
    def deviation(self) -> float:
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else np.nan

    @property
    def costs(self) -> Mapping[str, Any]:
        return next((run.record["costs"] for run in self.runs if "costs" in run.record), {})


@dataclass(frozen=True)
class AblationTable:
    metric: str
    recipe: str
    rows: Sequence[Row]
    """The baseline's first."""
    speeds: Mapping[str, float] = field(default_factory=dict)
    """Images/s of a training step of each arm, where they were measured."""


def ablation_table(runs: Sequence[StoredRun], metric: str = "test/top1") -> AblationTable:
    """Raises `ValueError` for runs that cannot be compared, and where there is no baseline."""
    require_comparable([run for run in runs if run.record])
    arms = by_arm(runs)
    if BASELINE not in arms:
        raise ValueError(
            f"no run of experiment={BASELINE} among {', '.join(arms)}, so there is nothing to compare with"
        )
    baseline = arms.pop(BASELINE)
    seeds = sorted({run.seed for run in runs})
    rows = [_row(BASELINE, baseline, {}, metric, seeds)]
    rows += [_row(arm, found, baseline, metric, seeds) for arm, found in arms.items()]
    if not any(row.values for row in rows):
        known = {key for run in runs for key in run.record.get("results", {})}
        raise ValueError(
            f"no run has finished with {metric}; measured: {', '.join(sorted(known)) or 'nothing'}"
        )
    decided = statistics.verdicts({
        row.arm: (row.claim, row.difference)
        for row in rows
        if row.claim and row.difference and not (row.dead or rows[0].dead)
    })  # fmt: skip
    judged = [replace(row, verdict=decided.get(row.arm)) for row in rows]
    recipe = next((run.record["recipe"] for run in runs if run.record), "")
    return AblationTable(metric, recipe, judged)


def by_arm(runs: Sequence[StoredRun]) -> dict[str, dict[int, StoredRun]]:
    """Arm → seed → run. Raises `ValueError` for two runs of one arm and seed."""
    arms: dict[str, dict[int, StoredRun]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        if other := arms.setdefault(run.arm, {}).get(run.seed):
            raise ValueError(
                f"{other.directory} and {run.directory}: both are {run.arm} with seed {run.seed}; give "
                f"one of them"
            )
        arms[run.arm][run.seed] = run
    return arms


def _row(
    arm: str,
    runs: Mapping[int, StoredRun],
    baseline: Mapping[int, StoredRun],
    metric: str,
    seeds: Sequence[int],
) -> Row:
    values = {seed: run.result(metric) for seed, run in runs.items()}
    done = {seed: value for seed, value in values.items() if value is not None}
    both = [s for s in done if s in baseline and baseline[s].result(metric) is not None]
    difference = _difference([(runs[s], baseline[s]) for s in both], metric) if both else None
    detectable = None
    if difference and difference.pairs > 1:
        deviation = difference.error * sqrt(difference.pairs)
        detectable = statistics.detectable(deviation, difference.pairs, difference.degrees)
    absent: dict[str, list[int]] = {}
    for seed in seeds:
        if seed not in done:
            state = runs[seed].state if seed in runs else "missing"
            absent.setdefault("not measured" if state == "finished" else state, []).append(seed)
    return Row(
        arm, [*runs.values()], [*done.values()], difference, detectable,
        _claim(arm, [*runs.values()], metric), None, _is_dead([runs[seed] for seed in done], metric), absent,
    )  # fmt: skip


def _difference(pairs: Sequence[tuple[StoredRun, StoredRun]], metric: str) -> Difference:
    """With the variation over images, where it is known."""
    if metric in RIGHT and all(a.outcomes and b.outcomes for a, b in pairs):
        return statistics.crossed(np.stack([*_changes(pairs, RIGHT[metric])]))
    return statistics.paired([a.result(metric) - b.result(metric) for a, b in pairs])  # type: ignore[operator]


def _changes(pairs: Sequence[tuple[StoredRun, StoredRun]], among: int) -> Iterator[Any]:
    for ablated, baseline in pairs:
        a, b = ablated.outcomes or {}, baseline.outcomes or {}
        if not np.array_equal(a["label"], b["label"]):
            raise ValueError(f"{ablated.directory} and {baseline.directory}: other test images")
        yield (a["rank"] < among).astype(np.int8) - (b["rank"] < among)


def _claim(arm: str, runs: Sequence[StoredRun], metric: str) -> Claim | None:
    """What the experiment's file said of this metric when the runs began.

    A combination of experiments claims nothing.
    """
    found = [Claim(**run.config["claim"]) for run in runs if run.config.get("claim")]
    return found[0] if found and found[0].metric == metric and "+" not in arm else None


def _is_dead(runs: Sequence[StoredRun], metric: str) -> bool:
    """Whether the mean is within three standard errors of equal probabilities."""
    if metric not in RIGHT or not runs:
        return False
    chance = RIGHT[metric] / runs[0].record["classes"]
    if chance >= 1:
        return False
    images = runs[0].record["results"]["test/n"] * len(runs)
    mean = np.mean([run.result(metric) for run in runs])
    return bool(mean <= chance + 3 * sqrt(chance * (1 - chance) / images))
