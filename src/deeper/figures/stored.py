"""What the committed pictures show of a trained network; `deeper.figures.store` writes it."""

from pathlib import Path
from typing import Any

import numpy as np

from deeper.config.groups import PROJECT

FOLDER = PROJECT / "results/default"
ARRAYS, GRADIENTS = "pictures.npz", "gradients.json"


def folder() -> Path:
    """Of the one run in `FOLDER`."""
    (file,) = FOLDER.glob(f"runs/*/{ARRAYS}")
    return file.parent


def arrays() -> dict[str, Any]:
    """conv1 and conv1_initial [N, 3, h, w]; of the worst mistakes index, label, predicted and Grad-CAM maps."""
    with np.load(folder() / ARRAYS) as found:
        return dict(found)
