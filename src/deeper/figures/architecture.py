"""The network as a drawing and a table in one: a row for each stage, in forward order."""

from collections.abc import Sequence
from itertools import groupby

import torch
from matplotlib.axes import Axes

import deeper
from deeper.figures.picture import COLOURS, Picture
from deeper.models.googlenet import GoogLeNet
from deeper.models.summary import StageSummary, summary

KERNELS = {"1×1": "#9ecae1", "3×3": "#4a90c4", "5×5": "#1f5a94", "7×7": "#0b2f5c"}
HEAD, OTHER = COLOURS[1], COLOURS[6]
"""Colours of convolutions, of classifiers, and of stages without parameters."""

# Inches. The places of columns are from the left.
TOP, ROW, BOTTOM = 0.62, 0.265, 0.98
SIZE, NAME, KERNEL, TRUNK, PARAMETERS, MACS = 0.12, 0.98, 2.5, 3.72, 5.58, 6.83
WIDEST, BAR, HEIGHT = 1.6, 0.55, 0.19


def draw(rows: Sequence[StageSummary]) -> Picture:
    """`rows` of `summary` in training mode; in evaluation mode they have no auxiliary heads."""
    end = TOP + ROW * len(rows)
    picture = Picture(7.5, end + BOTTOM)
    axes = picture.blank_axes()
    for x, text, align in (
        (SIZE, "map, px", "left"),
        (NAME, "stage", "left"),
        (KERNEL, "kernel/\nstride", "right"),
        (TRUNK, "output channels", "center"),
        (PARAMETERS, "parameters,\nthousands", "center"),
        (MACS, "multiply-adds,\nmillions", "center"),
    ):
        axes.text(x, TOP - 0.1, text, ha=align, va="bottom", color="#555555")
    _maps(axes, rows)
    axes.plot([TRUNK, TRUNK], [TOP, end - ROW / 2], color="#777777", lw=1, zorder=0.5)
    for number, row in enumerate(rows):
        _stage(axes, row, TOP + ROW * (number + 0.5), WIDEST / max(row.shape[0] for row in rows))
    _numbers(axes, rows, [row.parameters / 1e3 for row in rows], PARAMETERS)
    _numbers(axes, rows, [row.macs / 1e6 for row in rows], MACS)
    axes.text(NAME, end + 0.2, "inference", va="center", weight="bold")
    axes.text(NAME, end + 0.42, "training, with auxiliary heads", va="center")
    for place, (name, colour) in enumerate((KERNELS | {"head": HEAD, "pool, norm": OTHER}).items()):
        x = NAME + 0.98 * place
        axes.barh(end + 0.78, 0.16, 0.14, x, color=colour)
        axes.text(x + 0.22, end + 0.78, name, va="center")
    return picture


def network(*words: str) -> GoogLeNet:
    """That of `python src/train.py data=imagenet WORDS`, on the meta device: without values or memory."""
    from deeper.runs import build

    cfg = deeper.compose("data=imagenet", *words)
    with torch.device("meta"):
        net = build.network(cfg, range(cfg.data.source.num_classes))  # type: ignore[arg-type]
    assert isinstance(net, GoogLeNet)  # noqa: S101
    return net


def committed() -> Picture:
    net = network("recipe=paper")
    return draw(summary(net, net.image_size))


def _maps(axes: Axes, rows: Sequence[StageSummary]) -> None:
    """The size of the maps, once for all stages that have it, on a shade of their own."""
    sizes: list[tuple[int, ...]] = []
    for row in rows:
        sizes.append(sizes[-1] if row.stage.startswith("aux.") else row.shape[1:])
    y = TOP
    for number, (size, same) in enumerate(groupby(sizes)):
        height = ROW * len([*same])
        if number % 2 == 0:
            axes.axhspan(y, y + height, color="#f2f2f2", lw=0, zorder=0)
        axes.text(SIZE, y + ROW / 2, " × ".join(map(str, size)), va="center")
        y += height


def _stage(axes: Axes, row: StageSummary, y: float, scale: float) -> None:
    """The name, and a bar as wide as the output has channels; those of a module by its branches."""
    axes.text(NAME, y, row.stage, va="center")
    axes.text(KERNEL, y, row.kernel, va="center", ha="right", color="#555555")
    if row.stage.startswith("aux."):
        x = TRUNK + 0.7 * WIDEST / 2
        axes.plot([TRUNK, x, x], [y - ROW, y - ROW, y], color=HEAD, lw=1, zorder=0.5)
        axes.barh(y, 0.34, HEIGHT, x - 0.17, color=HEAD)
        return
    x = TRUNK - row.shape[0] * scale / 2
    axes.text(x - 0.05, y, str(row.shape[0]), va="center", ha="right", size=8, color="#555555")
    for colour, channels in _branches(row):
        axes.barh(y, channels * scale, HEIGHT, x, color=colour, edgecolor="white", lw=0.4)
        x += channels * scale


def _branches(row: StageSummary) -> list[tuple[str, int]]:
    """Colour and output channels of each branch of a module; of any other stage its only one."""
    found = [
        (colour, row.widths[name])
        for name, colour in zip(("conv1x1", "conv3x3", "conv5x5"), KERNELS.values(), strict=False)
        if name in row.widths
    ]
    if found:
        return [*found, (OTHER, row.shape[0] - sum(channels for _, channels in found))]
    if len(row.shape) == 1:
        return [(HEAD, row.shape[0])]
    colour = KERNELS.get(row.kernel.partition("/")[0], OTHER) if row.widths else OTHER
    return [(colour, row.shape[0])]


def _numbers(axes: Axes, rows: Sequence[StageSummary], values: Sequence[float], x: float) -> None:
    """A column of numbers with bars, and its two sums."""
    for number, (row, value) in enumerate(zip(rows, values, strict=True)):
        y = TOP + ROW * (number + 0.5)
        if value:
            axes.text(x - 0.06, y, f"{value:,.0f}", va="center", ha="right")
            colour = HEAD if len(row.shape) == 1 else "#888888"
            axes.barh(y, BAR * value / max(values), HEIGHT, x, color=colour)
    heads = [value for row, value in zip(rows, values, strict=True) if row.stage.startswith("aux.")]
    end = TOP + ROW * len(rows)
    axes.plot([x - 0.6, x + BAR], [end + 0.05] * 2, color="#555555", lw=0.8)
    total, inference = sum(values), sum(values) - sum(heads)
    axes.text(x - 0.06, end + 0.2, f"{inference:,.0f}", va="center", ha="right", weight="bold")
    axes.text(x - 0.06, end + 0.42, f"{total:,.0f}", va="center", ha="right")
