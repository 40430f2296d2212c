"""The filters of the first convolution, as colours."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.utils import make_grid

from deeper.figures import stored
from deeper.figures.picture import Picture

COLUMNS = 16


def draw(filters: Mapping[str, NDArray[np.floating]]) -> Picture:
    """Title → weights [N, 3, h, w]. Grey is 0; of each filter the largest weight is as bright as can be."""
    rows = max(-(-len(weights) // COLUMNS) for weights in filters.values())
    picture = Picture(8, (0.5 * rows + 0.4) * len(filters))
    cells = picture.subplots(len(filters), squeeze=False).flat
    for axes, (title, weights) in zip(cells, filters.items(), strict=True):
        axes.imshow(_sheet(weights), interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(title, loc="left", fontsize=10)
    return picture


def _sheet(weights: NDArray[np.floating]) -> Any:
    """[H, W, 3], 0..1"""
    largest = np.abs(weights).max((1, 2, 3), keepdims=True).clip(1e-9)
    colours = torch.from_numpy(0.5 + 0.5 * weights / largest)
    return make_grid(colours, nrow=COLUMNS, padding=1, pad_value=1.0).permute(1, 2, 0).numpy()


def committed() -> Picture:
    found = stored.arrays()
    first, last = found["conv1_initial"].astype(float), found["conv1"].astype(float)
    return draw({"conv1 after 10 epochs": last, "of it, what training added": last - first})
