"""Tables of an evaluation: metrics, the worst classes, and the paper's Table 3 beside ours."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import JustifyMethod

from deeper.data.classes import words
from deeper.evaluation.metrics import Metrics, wilson
from deeper.table import printable, show_table

MAX_CLASSES = 20
"""Classes shown in a table."""

PAPER = {
    (1, 1): 10.07, (1, 10): 9.15, (1, 144): 7.89, (7, 1): 8.09, (7, 10): 7.62, (7, 144): 6.67,
}  # fmt: skip
"""Models, crops → top-5 error in % on ImageNet's validation set (Table 3). The paper prints 3.45 for the
last gain; 10.07 - 6.67 is 3.40."""


def show_evaluation(
    content: Mapping[str, Any], metrics: Metrics, classes: Sequence[str], file: str
) -> None:
    """Metrics with 95 % intervals, the classes with the largest error, and the paper's Table 3.

    `content` is that of `Ensemble.report`; `file` has all of it.
    """
    models, rows = [*content["checkpoints"]], content["rows"]
    title = models[0] if len(models) == 1 else f"{len(models)} models, {rows[-1]['protocol']}"
    columns: dict[str, JustifyMethod]
    columns = {"split": "left", "images": "right", "top-1 % (95 %)": "right",
               "top-5 % (95 %)": "right", "loss": "right", "ECE %": "right"}  # fmt: skip
    show_table(title, columns, [[content["split"], *overall(metrics)]])
    if metrics.non_finite:
        print(f"{metrics.non_finite:,} images have non-finite outputs; they count as wrong")
    worst = worst_classes(metrics, classes)
    which = "each class" if len(worst) == len(classes) else f"the worst {len(worst)} classes"
    columns = {"class": "left", "images": "right", "top-1 %": "right", "top-5 %": "right",
               "most often predicted as": "left"}  # fmt: skip
    show_table(f"{which}; all are in {file}, with the confusion matrix", columns, worst)
    if len(rows) > 1:
        columns = dict.fromkeys(
            ("models", "crops", "top-1", "gain (95 %)", "top-5", "gain (95 %) ", "paper's top-5", "its gain"),
            "right",
        )  # fmt: skip
        title = (
            "models × crops: errors in %, one model is the first; gains are over the first row, their "
            "intervals over these images, not over training seeds"
        )
        show_table(
            title, columns, table3([row for row in rows if row["checkpoint"] in (models[0], None)])
        )


def overall(metrics: Metrics) -> list[str]:
    """Images, top-1, top-5, loss, expected calibration error."""
    rates = [_rate(metrics.top1, metrics.n), _rate(metrics.top5, metrics.n)]
    return [f"{metrics.n:,}", *rates, f"{metrics.nll:.4f}", f"{100 * metrics.ece:.2f}"]


def worst_classes(
    metrics: Metrics, classes: Sequence[str], most: int = MAX_CLASSES
) -> list[list[str]]:
    """Class, images, top-1, top-5, and the most frequent wrong prediction with its count.

    Classes without images come last.
    """
    n, right = metrics.class_n, metrics.confusion.diagonal()
    accuracy = np.where(n > 0, right / np.maximum(n, 1), 2.0)
    wrong = metrics.confusion - np.diag(right)
    rows = []
    for label in np.argsort(accuracy, kind="stable")[:most].tolist():
        images, other = int(n[label]), int(wrong[label].argmax())
        rates = [
            f"{100 * int(hits[label]) / images:.1f}" if images else ""
            for hits in (right, metrics.class_top5)
        ]
        times = int(wrong[label, other])
        predicted = f"{_short_name(classes[other])}, {times}" if times else ""
        rows.append([_short_name(classes[label]), f"{images:,}", *rates, predicted])
    return rows


def table3(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Models × crops beside the paper's; a gain is the change of an error, so below 0 is better."""
    lines = []
    for row in rows:
        paper = PAPER.get((row["models"], row["crops"]))
        theirs = ["", ""] if paper is None else [f"{paper:.2f}", f"{paper - PAPER[1, 1]:+.2f}"]
        if paper == PAPER[1, 1]:
            theirs[1] = "base"
        cells = [str(row["models"]), str(row["crops"])]
        for metric in ("top1", "top5"):
            cells += [f"{_error(row, metric):.2f}", _gain(rows[0], row, metric)]
        lines.append(cells + theirs)
    return lines


def _gain(base: Mapping[str, Any], row: Mapping[str, Any], metric: str) -> str:
    if row is base:
        return "base"
    low, high = (100 * end for end in row[f"{metric}_gain_interval"])
    return f"{_error(row, metric) - _error(base, metric):+.2f} ({low:+.1f}…{high:+.1f})"


def _error(row: Mapping[str, Any], metric: str) -> float:
    """In per cent."""
    return 100 * (1 - float(row[metric]) / float(row["n"]))


def _rate(right: int, n: int) -> str:
    low, high = wilson(right, n)
    return f"{100 * right / n:.2f} ({100 * low:.1f}–{100 * high:.1f})"


def _short_name(name: str) -> str:
    """The first of the class's words."""
    return printable(words(name).partition(",")[0])
