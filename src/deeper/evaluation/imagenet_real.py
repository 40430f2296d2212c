"""ImageNet's validation images labelled anew, with all that they show (Beyer et al., 2020)."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.data.datamodule import ImageData
from deeper.data.images.stored import StoredImages
from deeper.data.source import LabelledImages
from deeper.data.splits import Subset
from deeper.evaluation.metrics import wilson

IMAGES = 50_000


class Real:
    """The labels of `file` for the pictures of a split. `ValueError` where they don't belong together."""

    def __init__(self, file: Path, data: ImageData, split: str) -> None:
        self.labels = read(file, len(data.classes))
        self.numbers = numbers(getattr(data.splits, split))

    def results(self, best: NDArray[np.int64]) -> dict[str, Any]:
        """Of the most probable class of each picture."""
        return results(best, self.labels, self.numbers)


def read(path: Path, classes: int) -> list[list[int]]:
    """Labels of each image by its number: places among the sorted wnids. `ValueError` for another file."""
    try:
        found: Any = json.loads(path.expanduser().read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"real={path}: cannot be read as JSON ({error})") from error
    good = isinstance(found, list) and all(
        isinstance(labels, list) and all(type(i) is int and 0 <= i < classes for i in labels)
        for labels in found
    )
    if not good or len(found) != IMAGES:
        raise ValueError(
            f"real={path}: expected {IMAGES:,} lists of labels in 0..{classes - 1}, as real.json of "
            f"github.com/google-research/reassessed-imagenet has them"
        )
    return list(found)


def numbers(images: LabelledImages) -> list[int]:
    """1..50000 of each image, by its name. `ValueError` for images that are not ImageNet's."""
    return [_number(images, place) for place in range(len(images))]


def _number(images: LabelledImages, place: int) -> int:
    if isinstance(images, Subset):
        return _number(images.images, int(images.indices[place]))
    name = images.name(place) if isinstance(images, StoredImages) else "an image without a name"
    found = re.search(r"ILSVRC2012_val_(\d{8})(?!\d)", name)
    if not found or not 1 <= int(found[1]) <= IMAGES:
        raise ValueError(
            f"real: is about ImageNet's validation images, and {name} is none of them "
            f"(ILSVRC2012_val_00000001 …); leave real out, or pass data.root=<ImageNet> split=test"
        )
    return int(found[1])


def results(best: NDArray[np.int64], labels: list[list[int]], numbers: list[int]) -> dict[str, Any]:
    """Images whose most probable class is among their labels; those without a label don't count."""
    pairs = [(int(b), labels[i - 1]) for b, i in zip(best, numbers, strict=True) if labels[i - 1]]
    n, right = len(pairs), sum(guess in wanted for guess, wanted in pairs)
    return {"n": n, "top1": right, "top1_interval": wilson(right, n)} if n else {"n": 0, "top1": 0}
