"""What all pictures share: colours, text size, and a file that is the same at each build."""

from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from deeper.reporting.figures import COLOURS

STYLE = {
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "deeper",  # else the ids within an SVG are random
}


class Picture(Figure):
    """A figure of `width` × `height` inches, which notebooks show as SVG without a magic word."""

    def __init__(self, width: float = 7.0, height: float = 4.0, **kwargs: Any) -> None:
        with mpl.rc_context(STYLE):
            super().__init__(figsize=(width, height), **kwargs)

    def _repr_svg_(self) -> str:
        text = StringIO()
        with mpl.rc_context(STYLE):
            self.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()

    def save(self, path: Path) -> None:
        """Write SVG, or PNG for pictures that hold photos, by the name's ending."""
        with mpl.rc_context(STYLE):
            self.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)
