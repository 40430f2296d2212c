"""Curves over a training: of one run, or of the arms of a study."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from deeper.figures import stored
from deeper.figures.picture import COLOURS, Picture
from deeper.runs import metrics

Lines = Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]]
"""Name → x and y of each run."""

PANELS = {
    "loss": ("train/loss_", "val/loss"),
    "accuracy": ("val/top",),
    "learning rate": ("optim/lr",),
    "images/s": ("perf/images_per_s",),
}
"""Beginnings of the metrics in each panel of a run."""


def draw(panels: Mapping[str, Lines], unit: str = "step") -> Picture:
    """A panel for each title, with a line for each name.

    Of several runs under a name the line is the mean, in a band from the least to the largest of them,
    up to the shortest run's end.
    """
    rows, columns = (2, 2) if len(panels) == 4 else (1, len(panels))
    picture = Picture(2.6 + 3.2 * columns, 1.2 + 2 * rows)
    cells = picture.subplots(rows, columns, squeeze=False).flat
    for axes, (title, lines) in zip(cells, panels.items(), strict=True):
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel(unit)
        for number, (name, runs) in enumerate(lines.items()):
            shortest = min(len(x) for x, _ in runs)
            x, values = runs[0][0][:shortest], np.array([y[:shortest] for _, y in runs], float)
            style = ("-", "--", ":")[number // len(COLOURS) % 3]
            axes.plot(x, values.mean(0), style, label=name, marker="o" if shortest == 1 else None)
            axes.fill_between(x, values.min(0), values.max(0), alpha=0.15, linewidth=0)
        if title == "loss":
            axes.set_yscale("log", base=2)
            axes.yaxis.set_major_formatter("{x:.3g}")
        if len(lines) > 1:
            outside = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if len(lines) > 4 else {}
            axes.legend(frameon=False, fontsize=8, **outside)
    return picture


def of_run(rows: Iterable[Mapping[str, Any]]) -> dict[str, Lines]:
    """The panels of a run's metrics.jsonl, without those that it has no values for."""
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        for name, value in row.items():
            x, y = lines.setdefault(name, ([], []))
            x.append(row["step"])
            y.append(value)
    panels: dict[str, Lines] = {
        title: {name: [line] for name, line in lines.items() if name.startswith(beginnings)}
        for title, beginnings in PANELS.items()
    }
    return {title: panel for title, panel in panels.items() if panel}


def committed() -> Picture:
    return draw(of_run(metrics.rows(stored.folder())))
