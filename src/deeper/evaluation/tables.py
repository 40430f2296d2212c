"""An evaluation on the screen: what was counted, how sure that is, and which classes went wrong."""

from collections.abc import Sequence

import numpy as np
from rich.console import JustifyMethod

from deeper.data.classes import words
from deeper.evaluation.metrics import Counts, wilson
from deeper.inference.inputs import spelt
from deeper.reporting.table import draw

MOST = 20
"""Classes that a screen has room for."""


def show(counts: Counts, classes: Sequence[str], split: str, title: str) -> None:
    """Counts with intervals of 95 %, then the classes with the most errors."""
    columns: dict[str, JustifyMethod]
    columns = {"split": "left", "images": "right", "top-1 % (95 %)": "right",
               "top-5 % (95 %)": "right", "loss": "right", "ECE %": "right"}  # fmt: skip
    draw(title, columns, [[split, *summary(counts)]])
    rows = worst(counts, classes)
    which = "each class" if len(rows) == len(classes) else f"the worst {len(rows)} classes"
    columns = {"class": "left", "images": "right", "top-1 %": "right", "top-5 %": "right",
               "most often taken for": "left"}  # fmt: skip
    draw(f"{which}; all are in evaluation.json, with the confusion matrix", columns, rows)


def summary(counts: Counts) -> list[str]:
    """Images, top-1, top-5, loss, expected calibration error."""
    shares = [_interval(counts.top1, counts.n), _interval(counts.top5, counts.n)]
    return [f"{counts.n:,}", *shares, f"{counts.nll:.4f}", f"{100 * counts.ece:.2f}"]


def worst(counts: Counts, classes: Sequence[str], most: int = MOST) -> list[list[str]]:
    """Class, images, top-1, top-5, and the class that it was most often taken for, with how often.

    Classes without images come last and are left out first.
    """
    n, right = counts.confusion.sum(1), counts.confusion.diagonal()
    share = np.where(n > 0, right / np.maximum(n, 1), 2.0)
    wrong = counts.confusion - np.diag(right)
    rows = []
    for place in np.argsort(share, kind="stable")[:most].tolist():
        images, other = int(n[place]), int(wrong[place].argmax())
        shares = [
            f"{100 * int(hits[place]) / images:.1f}" if images else ""
            for hits in (right, counts.class_top5)
        ]
        times = int(wrong[place, other])
        taken = f"{_called(classes[other])}, {times}" if times else ""
        rows.append([_called(classes[place]), f"{images:,}", *shares, taken])
    return rows


def _interval(right: int, n: int) -> str:
    low, high = wilson(right, n)
    return f"{100 * right / n:.2f} ({100 * low:.1f}–{100 * high:.1f})"


def _called(name: str) -> str:
    """The first of its words."""
    return spelt(words(name).partition(",")[0])
