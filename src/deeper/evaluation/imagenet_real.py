"""ImageNet-ReaL: several labels for each validation image (Beyer et al., 2020)."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.data.images.stored import StoredImages
from deeper.data.source import LabelledImages
from deeper.data.splits import Subset
from deeper.evaluation.metrics import wilson

IMAGES = 50_000


def real_labels(file: str, images: LabelledImages, classes: int) -> list[list[int]]:
    """Labels of each image, as indices into the sorted wnids; none where the authors found none.

    `ValueError` for another file than theirs, or for images not of ImageNet.
    """
    try:
        found: list[list[int]] = json.loads(Path(file).expanduser().read_bytes())
        fits = len(found) == IMAGES and all(0 <= i < classes for own in found for i in own)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"real={file}: cannot be read ({error})") from error
    if not fits:
        raise ValueError(
            f"real={file}: expected {IMAGES:,} lists of labels in 0..{classes - 1}, as in real.json of "
            f"github.com/google-research/reassessed-imagenet"
        )
    return [found[_number(images, place) - 1] for place in range(len(images))]


def real_counts(labels: list[list[int]], best: NDArray[np.int64]) -> dict[str, Any]:
    """Images whose most probable class is one of their labels; images without labels are left out."""
    right = [guess in own for guess, own in zip(best.tolist(), labels, strict=True) if own]
    counts = {"n": len(right), "top1": sum(right)}
    return counts | ({"top1_interval": wilson(sum(right), len(right))} if right else {})


def _number(images: LabelledImages, place: int) -> int:
    """1..50000, from the file name of a validation image."""
    if isinstance(images, Subset):
        return _number(images.images, int(images.indices[place]))
    name = images.name(place) if isinstance(images, StoredImages) else "an image without a name"
    found = re.search(r"ILSVRC2012_val_(\d{8})(?!\d)", name)
    if not found or not 1 <= int(found[1]) <= IMAGES:
        raise ValueError(
            f"real: covers ImageNet's validation images (ILSVRC2012_val_00000001 …), and {name} is "
            f"none of them; leave real out, or pass data.root=<ImageNet> split=test"
        )
    return int(found[1])
