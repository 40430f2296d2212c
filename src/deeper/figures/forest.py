"""Differences from the baseline beside what the paper claims."""

import json
from collections.abc import Mapping
from textwrap import fill
from typing import Any

from deeper.config.groups import PROJECT
from deeper.figures.picture import Picture

COLOURS = {"holds": "#228833", "contradicted": "#cc3311", "not resolved": "#444444"}
"""Of verdicts."""


def draw(table: Mapping[str, Any]) -> Picture:
    """Of the content of a report's table.json: dots with intervals of 95 %, where there are two seeds.

    The shade is what a claim allows, the diamond its size.
    """
    arms = [arm for arm in table["arms"] if arm["difference"] is not None]
    unit = 100 if table["metric"].endswith(("top1", "top5")) else 1  # points
    keys = ("difference", "low", "high", "claimed_size", "margin")
    reach = 1.1 * unit * max([abs(arm[key] or 0) for arm in arms for key in keys], default=1) or 1
    picture = Picture(8.5, 0.9 + 0.45 * max(len(arms), 1))
    axes = picture.subplots()
    axes.axvline(0, color="#888888", linestyle="--", linewidth=1)
    for y, arm in enumerate(arms):
        colour = COLOURS.get(arm["verdict"], "#4477aa")
        if direction := arm["claimed_direction"]:
            margin, size = unit * (arm["margin"] or 0), unit * (arm["claimed_size"] or 0)
            allowed = {"lower": (-reach, 0), "higher": (0, reach), "none": (-margin, margin)}
            axes.fill_betweenx(
                [y - 0.4, y + 0.4], *allowed[direction], color="#f3e6c4", linewidth=0
            )
            if size:
                claimed = size if direction == "higher" else -size
                axes.plot(claimed, y, "D", color="#c8962e", markerfacecolor="white")
        if arm["low"] is not None:
            axes.hlines(y, unit * arm["low"], unit * arm["high"], colour, linewidth=2)
        axes.plot(unit * arm["difference"], y, "o", color=colour)
        seeds = f"{arm['pairs']} seed{'s' if arm['pairs'] > 1 else ''}"
        words = " · ".join(filter(None, (seeds, arm["verdict"])))
        claim = fill(arm["claim"] or "", 45)
        beside: Any = {
            "x": 1.02,
            "y": y,
            "transform": axes.get_yaxis_transform(),
            "parse_math": False,
        }
        axes.text(s=words, va="bottom" if claim else "center", color=colour, fontsize=9, **beside)
        axes.text(s=claim, va="top", color="#777777", fontsize=8, **beside)
    names = [arm["experiment"].replace("+", " + ") for arm in arms]
    axes.set_yticks(range(len(arms)), names, parse_math=False)
    axes.set(xlim=(-reach, reach), ylim=(max(len(arms), 1) - 0.5, -0.5))
    points = " in points" if unit == 100 else ""
    axes.set_xlabel(
        f"Δ {table['metric']} against the baseline{points}; shaded: what the paper claims"
    )
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return picture


STUDIES = {
    "remeasured": "",
    "remeasured_2014": ", net of 2014",
    "remeasured_confirmed": ", new seeds",
}
"""Of the paper, by their folders in results/ → what is added to the names of their arms."""


def committed() -> Picture:
    """All studies of the paper."""
    tables = [
        json.loads((PROJECT / "results" / name / "table.json").read_text()) for name in STUDIES
    ]
    arms = [
        arm | {"experiment": arm["experiment"] + added}
        for table, added in zip(tables, STUDIES.values(), strict=True)
        for arm in table["arms"]
    ]
    return draw(tables[0] | {"arms": arms})
