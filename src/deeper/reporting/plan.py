"""How many seeds a study needs, from pilot runs of its baseline."""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
import yaml
from scipy import stats

from deeper.config.groups import CONFIG_FOLDER
from deeper.config.schema import Claim
from deeper.reporting.ablations import by_arm
from deeper.reporting.comparable import require_comparable
from deeper.reporting.runs import BASELINE, StoredRun
from deeper.reporting.statistics import detectable, equivalence_pairs, pairs_needed
from deeper.table import show_table

SEEDS = (3, 5, 10, 20)

CONFIDENCE = 0.8


def show_plan(runs: Sequence[StoredRun], metric: str) -> None:
    """Print which differences some numbers of seeds find, and the seeds that each claim needs.

    Of the deviation over seeds the upper 80 % limit is taken, as few pilots may look alike by chance
    (Browne, 1995). Two runs of a pair count as independent: the deviation of their difference is √2
    times that of one. Both ask for too many seeds rather than too few. Raises `ValueError` for fewer
    than two finished baselines.
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
    deviation, degrees = values.std(ddof=1), len(done) - 1
    limit = deviation * sqrt(degrees / stats.chi2.ppf(1 - CONFIDENCE, degrees))
    of_pairs = sqrt(2) * limit
    hours = np.mean([run.record["seconds"] for run in done]) / 3600
    print(
        f"{len(done)} pilots: {metric} {values.mean():.2%} ± {deviation:.2%} over seeds "
        f"(at most {limit:.2%}, 80 % confidence), {hours * 60:.1f} min a run"
    )
    for seeds in SEEDS:
        difference = detectable(of_pairs, seeds)
        print(f"{seeds:>3} seeds find a difference of {difference:.2%} in 4 of 5 studies")

    rows = []
    for experiment, claim in _claims().items():
        if claim.metric != metric:
            continue
        if claim.margin:
            claimed, pairs = f"within {claim.margin:.2%}", equivalence_pairs(of_pairs, claim.margin)
        elif claim.size:
            claimed, pairs = f"{claim.size:.2%}", pairs_needed(of_pairs, claim.size)
        else:
            continue
        needed = ["over 1000", ""] if pairs is None else [str(pairs), f"{2 * pairs * hours:.1f}"]
        rows.append([experiment, claim.says, claimed, *needed])
    columns: Any = {"experiment": "left", "the paper says": "left", "difference": "right",
                    "seeds": "right", "hours": "right"}  # fmt: skip
    show_table("Seeds that would find what is claimed, and the hours of both arms", columns, rows)


def _claims() -> dict[str, Claim]:
    """Experiment → its claim, as its file has it today."""
    files = sorted((CONFIG_FOLDER / "experiment").glob("*.yaml"))
    contents = {file.stem: yaml.safe_load(file.read_text()) or {} for file in files}
    return {
        name: Claim(**content["claim"]) for name, content in contents.items() if "claim" in content
    }
