"""How many seeds a study needs, from pilot runs of its baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import yaml
from scipy import stats

from deeper.config.groups import CONFIG_FOLDER
from deeper.config.schema import Claim
from deeper.reporting.ablations import by_arm
from deeper.reporting.comparable import require_comparable
from deeper.reporting.runs import BASELINE, StoredRun
from deeper.reporting.statistics import detectable, equivalence_pairs, pairs_needed

SEEDS = (3, 5, 10, 20)

CONFIDENCE = 0.8


@dataclass(frozen=True)
class Need:
    experiment: str
    claim: Claim
    pairs: int | None
    """None: more than a thousand."""


@dataclass(frozen=True)
class Plan:
    metric: str
    pilots: int
    mean: float
    deviation: float
    """Of a baseline's result over seeds."""
    limit: float
    """Its upper limit, with which the rest is computed."""
    detectable: dict[int, float]
    """Pairs → the smallest difference that they find in 4 of 5 studies."""
    needs: Sequence[Need]
    hours: float
    """Of one run, as the pilots took."""


def plan(runs: Sequence[StoredRun], metric: str = "test/top1") -> Plan:
    """Raises `ValueError` for fewer than two finished baselines.

    Of the deviation over seeds the upper 80 % limit is taken, as few pilots may look alike by chance
    (Browne, 1995). Two runs of a pair count as independent: the deviation of their difference is √2
    times that of one. Both ask for too many seeds rather than too few.
    """
    done = [run for run in runs if run.arm == BASELINE and run.result(metric) is not None]
    if len(done) < 2:
        raise ValueError(
            f"{len(done)} finished runs of experiment={BASELINE} with {metric}: a plan needs two or more, "
            f"such as those of `python src/train.py -m experiment=baseline seed=100,101,102`"
        )
    require_comparable(done)
    by_arm(done)  # refuses a seed that is given twice
    values = np.array([run.result(metric) for run in done], np.float64)
    deviation = float(values.std(ddof=1))
    degrees = len(done) - 1
    limit = deviation * sqrt(degrees / stats.chi2.ppf(1 - CONFIDENCE, degrees))
    of_pairs = sqrt(2) * limit
    needs = [
        Need(name, claim, equivalence_pairs(of_pairs, claim.margin) if claim.margin
             else pairs_needed(of_pairs, claim.size) if claim.size else None)
        for name, claim in _claims().items()
        if claim.metric == metric and (claim.margin or claim.size)
    ]  # fmt: skip
    hours = float(np.mean([run.record["seconds"] for run in done])) / 3600
    found = {n: detectable(of_pairs, n) for n in SEEDS}
    return Plan(metric, len(done), float(values.mean()), deviation, limit, found, needs, hours)


def _claims() -> dict[str, Claim]:
    """Experiment → its claim, as its file has it today."""
    files = sorted((CONFIG_FOLDER / "experiment").glob("*.yaml"))
    contents = {file.stem: yaml.safe_load(file.read_text()) or {} for file in files}
    return {
        name: Claim(**content["claim"]) for name, content in contents.items() if "claim" in content
    }
