"""Parts of a split: what is held out, what a limit leaves."""

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from deeper.data.images.encoded import Encoded
from deeper.data.source import LabelledImages

HOLDOUT_SEED = 2014
"""The slice of train that chooses is the same for every seed of a run."""


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
    labels: NDArray[np.int64], share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to fit on and indices held out: `share` of each class, at least one image in either."""
    by_class = np.argsort(labels, kind="stable")
    names, starts = np.unique(labels[by_class], return_index=True)
    held = []
    for label, members in zip(names, np.split(by_class, starts[1:]), strict=True):
        if len(members) < 2:
            raise ValueError(
                f"class {label} has a single training image, so none can be held out; "
                f"pass data.val_from=official"
            )
        order = np.random.default_rng([HOLDOUT_SEED, int(label)]).permutation(members)
        held.append(order[: min(max(round(share * len(members)), 1), len(members) - 1)])
    chosen = np.sort(np.concatenate(held))
    kept = np.ones(len(labels), dtype=bool)
    kept[chosen] = False
    return np.flatnonzero(kept), chosen


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
