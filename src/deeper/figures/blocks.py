"""Inception modules side by side: the area of a square is what its convolution computes."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from deeper.figures.architecture import HEAD, KERNELS, OTHER, network
from deeper.figures.picture import Picture
from deeper.models.googlenet import TABLE1, GoogLeNet
from deeper.models.summary import summary

# Inches.
PANEL, SIDE = 3.75, 0.88
BRANCHES, ROWS = (0.55, 1.35, 2.33, 3.2), (1.05, 2.3)
PLACES = {
    "conv1x1": (0, 1),
    "reduce3x3": (1, 0),
    "conv3x3": (1, 1),
    "reduce5x5": (2, 0),
    "conv5x5": (2, 1),
    "pool": (3, 0),
    "pool_proj": (3, 1),
}
"""Layer of a module → its branch, from the left, and its row, from the top, as in figure 2."""

COLOURS = (HEAD, KERNELS["3×3"])


def draw(networks: Mapping[str, GoogLeNet], stage: str = "inception3a") -> Picture:
    """Title → network, for two networks; `stage` is the module that is drawn, below it are all."""
    picture = Picture(2 * PANEL, 5.9)
    axes = picture.blank_axes()
    chart = picture.add_subplot(position=(0.02, 0.055, 0.96, 0.235))
    rows = [
        {row.stage: row for row in summary(net.eval(), net.image_size)} for net in networks.values()
    ]
    size = rows[0][stage].shape[-1]
    modules = [net.get_submodule(stage) for net in networks.values()]
    inch = SIDE / max(max(_multiply_adds(module, size).values()) for module in modules) ** 0.5
    for place, (title, module, row) in enumerate(zip(networks, modules, rows, strict=True)):
        left = PANEL * place
        axes.text(left + 0.15, 0.2, title, va="center", weight="bold", color=COLOURS[place])
        cost = f"{stage}: {row[stage].macs / 1e6:,.0f} million multiply-adds"
        axes.text(left + 0.15, 0.42, cost, va="center")
        _module(axes, left, module, size, inch)
        values = [row[name].macs / 1e6 for name in TABLE1]
        x = [number + 0.4 * place - 0.2 for number in range(len(TABLE1))]
        bars = chart.bar(x, values, 0.38, color=COLOURS[place])
        chart.bar_label(bars, [f"{value:,.0f}" for value in values], size=9)
    chart.set_title("million multiply-adds of each module of the network", size=10, loc="left")
    chart.set_xticks(range(len(TABLE1)), [name.removeprefix("inception") for name in TABLE1])
    chart.tick_params(bottom=False)
    chart.yaxis.set_visible(False)
    chart.spines["left"].set_visible(False)
    return picture


def committed() -> Picture:
    reduced = network("recipe=paper", "model/aux=none")
    naive = network("recipe=paper", "model/aux=none", "model/block=naive")
    return draw({"naive (figure 2a)": naive, "with reductions (figure 2b)": reduced})


def _multiply_adds(module: Any, size: int) -> dict[str, int]:
    """Of each convolution, on maps of `size` × `size` px: a weight is used once a pixel."""
    return {
        name: layer.conv.weight.numel() * size**2
        for name, layer in module.named_children()
        if name != "pool"
    }


def _module(axes: Axes, left: float, module: Any, size: int, inch: float) -> None:
    """Data flow from the top to the bottom, each branch a line."""
    top, bottom, end = 0.8, 3.55, left + PANEL - 0.15
    axes.plot([left + 0.15, end], [top, top], color="#555555", lw=1)
    axes.plot([left + 0.15, end], [bottom, bottom], color="#555555", lw=1)
    axes.text(end, 0.76, f"{module.conv1x1.conv.in_channels} channels", ha="right", size=9)
    axes.text(end, 3.59, f"{module.out_channels} channels", ha="right", va="top", size=9)
    costs = _multiply_adds(module, size)
    for name, layer in module.named_children():
        branch, row = PLACES[name]
        x, y = left + BRANCHES[branch], ROWS[row]
        axes.plot([x, x], [top, bottom], color=OTHER, lw=1, zorder=0.5)
        if name == "pool":
            axes.plot(x, y, "o", color=OTHER)
            label, side = "3×3 pool", 0.12
        else:
            kernel = "{}×{}".format(*layer.conv.kernel_size)
            side = inch * costs[name] ** 0.5
            axes.barh(y, side, side, x - side / 2, color=KERNELS[kernel])
            label = f"{kernel}, {layer.conv.out_channels}\n{costs[name] / 1e6:.1f} M"
        back = {"color": "white", "pad": 0.5}
        axes.text(x, y + side / 2 + 0.05, label, ha="center", va="top", size=9, bbox=back)
