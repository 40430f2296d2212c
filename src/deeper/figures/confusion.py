"""A confusion matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deeper.figures.picture import Picture

NAMED = 30
"""As many classes have room for their names, and for a number in each cell."""


def draw(counts: NDArray[np.integer], names: Sequence[str]) -> Picture:
    """Rows are labels, columns predictions; a cell's shade is its fraction of the row."""
    named = len(names) <= NAMED
    size = 1.5 + 0.45 * len(names) if named else 7.0
    picture = Picture(size, size)
    axes = picture.subplots()
    percent = 100 * counts / counts.sum(1, keepdims=True).clip(min=1)
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=130)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set(xlabel="predicted", ylabel="label")
    if not named:
        return picture
    axes.set_xticks(range(len(names)), names, rotation=60, ha="left", parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    for (row, column), value in np.ndenumerate(percent):
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8,
                  color="white" if value > 65 else "#222222")  # fmt: skip
    return picture
