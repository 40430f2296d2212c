"""The paper's Table 3 as we measure it: models × crops, errors, gain over the first row."""

from collections.abc import Mapping, Sequence
from typing import Any

from deeper.reporting.table import draw

PAPER = {
    (1, 1): 10.07, (1, 10): 9.15, (1, 144): 7.89, (7, 1): 8.09, (7, 10): 7.62, (7, 144): 6.67,
}  # fmt: skip
"""Models, crops → top-5 error in % on ImageNet's validation set (Table 3). It prints 3.45 for the last
gain; 10.07 - 6.67 is 3.40."""


def lines(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A line a row: models, crops, top-1 and top-5 error, the latter's change since the first row with
    its interval of 95 %, then the paper's top-5 error and gain.
    """
    base = rows[0]
    found = []
    for row in rows:
        error, first = (_error(r, "top5") for r in (row, base))
        theirs = PAPER.get((row["models"], row["crops"]))
        gain = "base" if row is base else f"{error - first:+.2f}" + _chance(row)
        paper = "" if theirs is None else f"{theirs:.2f}"
        paper_gain = "base" if theirs == PAPER[1, 1] else ""
        if theirs is not None and not paper_gain:
            paper_gain = f"{theirs - PAPER[1, 1]:+.2f}"
        counts = [str(row["models"]), str(row["crops"])]
        errors = [f"{_error(row, 'top1'):.2f}", f"{error:.2f}"]
        found.append([*counts, *errors, gain, paper, paper_gain])
    return found


def _chance(row: Mapping[str, Any]) -> str:
    low, high = (100 * end for end in row["gain_interval"])
    return f" ({low:+.1f}…{high:+.1f})"


def _error(row: Mapping[str, Any], k: str) -> float:
    """In per cent."""
    return 100 * (1 - float(row[k]) / float(row["n"]))


def show(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """On the screen. One model is the first that was named."""
    columns = ("models", "crops", "top-1", "top-5", "gain (95 %)", "paper's", "its gain")
    draw(title, dict.fromkeys(columns, "right"), lines(rows))
