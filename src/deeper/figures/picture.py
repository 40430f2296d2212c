"""What all pictures share: colours, axes, and a file that is the same at each build."""

from collections.abc import Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.rcsetup import cycler
from PIL import Image
from PIL.Image import Dither

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#000000")
"""Paul Tol's bright scheme, which colour-blind readers can tell apart."""

STYLE: Any = {
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "figures",  # else the ids within an SVG are random
}


class Picture(Figure):
    """A figure of `width` × `height` inches, which notebooks show as SVG without a magic word."""

    def __init__(self, width: float, height: float) -> None:
        with mpl.rc_context(STYLE):
            super().__init__(figsize=(width, height))

    def add_subplot(self, *args: Any, **kwargs: Any) -> Axes:
        """`subplots` and `subplot_mosaic` make their axes by this too."""
        with mpl.rc_context(STYLE):
            axes: Axes = super().add_subplot(*args, **kwargs)
            return axes

    def blank_axes(self) -> Axes:
        """For a drawing: axes over the whole picture, in inches from its top left corner."""
        self.set_layout_engine("none")
        axes = self.add_subplot(position=(0, 0, 1, 1))
        width, height = self.get_size_inches()
        axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        axes.set_axis_off()
        return axes

    def place(self, pixels: Any, left: float, top: float, scale: float) -> None:
        """An image on blank axes; `scale` is inches a pixel."""
        height, width = np.asarray(pixels).shape[:2]
        extent = (left, left + width * scale, top + height * scale, top)
        self.axes[0].imshow(pixels, extent=extent, aspect="auto", interpolation="none")

    def frame(
        self, box: Sequence[float], left: float, top: float, scale: float, colour: str
    ) -> None:
        """A box of an image that `place` drew: left, top, right, bottom in pixels."""
        x0, y0, x1, y1 = (scale * side for side in box)
        patch = Rectangle((left + x0, top + y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=1.8)
        self.axes[0].add_patch(patch)

    def svg(self) -> str:
        """An element for a page of HTML."""
        text = StringIO()
        with mpl.rc_context(STYLE):
            self.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()[text.getvalue().index("<svg") :]

    _repr_svg_ = svg  # by this name notebooks look for it

    def save(self, path: Path) -> None:
        """Write SVG, or for pictures that hold photos PNG in 64 colours, by the name's ending."""
        if path.suffix == ".svg":
            path.write_text(self.svg(), encoding="utf-8")
            return
        png = BytesIO()
        self.savefig(png, dpi=160)
        image = Image.open(png).convert("RGB")
        image.quantize(64, kmeans=1, dither=Dither.NONE).save(path, optimize=True)
