"""Parts of a split: what is held out for validation, and what a limit leaves."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from deeper.data.images.encoded import Encoded
from deeper.data.source import LabelledImages


class Subset:
    """Some images of a split."""

    def __init__(self, images: LabelledImages, indices: NDArray[np.int64]) -> None:
        self.images, self.indices = images, indices
        self.labels = images.labels[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Image | Encoded, int]:
        return self.images[int(self.indices[index])]


def split_holdout(
    hashes: NDArray[np.uint64], labels: NDArray[np.int64], fraction: float, classes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the images to train on, and of those held out for validation.

    An image is held out if its own hash (`hashes.image_hashes`) lies in the lowest `fraction` of all
    hashes, whatever other images there are. So order and layout don't matter, a smaller fraction
    holds out a subset of a larger one's images, and the share of n images varies as n draws do: of
    ImageNet's 1,281,167 at 1 %, 12,812 ± 113 are held out. Besides, of each class the image with
    the lowest hash is always held out, and the one with the highest always trains.

    If images are only removed, at most one image a removal changes sides. It is the class's new
    lowest, which is held out from then on. A held-out image becomes a training image only where all
    that is left of its class was held out.
    """
    by_hash = np.lexsort((hashes, labels))  # by class, then by hash
    found, starts = np.unique(labels[by_hash], return_index=True)
    ends = np.append(starts[1:], len(labels))
    if (single := np.flatnonzero(ends - starts < 2)).size:
        raise ValueError(
            f"class {classes[found[single[0]]]} has a single training image, so none can be held "
            f"out; pass data.val_from=official"
        )
    held = hashes < np.uint64(fraction * 2**64)
    held[by_hash[starts]] = True
    held[by_hash[ends - 1]] = False
    return np.flatnonzero(~held), np.flatnonzero(held)


def limited(images: LabelledImages, limit: int) -> LabelledImages:
    """At most `limit` images, equally many of each class as far as they go; no class is left out
    unless there are more classes than `limit`.
    """
    if len(images) <= limit:
        return images
    by_class = np.argsort(images.labels, kind="stable")
    labels = images.labels[by_class]
    rank = np.arange(len(labels)) - np.searchsorted(labels, labels)  # 0, 1, 2 … within a class
    chosen = by_class[np.argsort(rank, kind="stable")[:limit]]
    return Subset(images, np.sort(chosen))
