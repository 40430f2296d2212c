"""What all pictures share: colours, axes, and a file that is the same at each build."""

from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
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
    "svg.hashsalt": "deeper",  # else the ids within an SVG are random
}


class Picture(Figure):
    """A figure of `width` × `height` inches, which notebooks show as SVG without a magic word."""

    def __init__(self, width: float = 7.0, height: float = 4.0, **kwargs: Any) -> None:
        with mpl.rc_context(STYLE):
            super().__init__(figsize=(width, height), **kwargs)

    def add_subplot(self, *args: Any, **kwargs: Any) -> Axes:
        """`subplots` and `subplot_mosaic` make their axes by this too."""
        with mpl.rc_context(STYLE):
            axes: Axes = super().add_subplot(*args, **kwargs)
        return axes

    def svg(self) -> str:
        """An element for a page of HTML."""
        text = StringIO()
        with mpl.rc_context(STYLE):
            self.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()[text.getvalue().index("<svg") :]

    _repr_svg_ = svg  # by this name notebooks look for it

    def save(self, path: Path) -> None:
        """Write SVG, or for pictures that hold photos PNG in 128 colours, by the name's ending."""
        if path.suffix == ".svg":
            path.write_text(self.svg(), encoding="utf-8")
            return
        pixels = BytesIO()
        self.savefig(pixels, dpi=160)
        Image.open(pixels).convert("RGB").quantize(128, dither=Dither.NONE).save(
            path, optimize=True
        )
