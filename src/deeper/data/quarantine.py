"""Leaves out, or refuses, the images that the manifest of a root knows to be unreadable."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from deeper.data import manifest as manifests
from deeper.data.manifest import Manifest
from deeper.data.source import Splits
from deeper.data.splits import Subset

BadImages = Literal["strict", "quarantine"]
"""What becomes of unreadable images: strict refuses them, quarantine leaves them out."""

LISTED = 10
"""Unreadable images that the error names."""


class ImageCounts(NamedTuple):
    """Numbers of images of a source, before any is held out or limited away."""

    verified: bool
    """Whether there is a manifest."""
    total: int
    quarantined: int
    """Unreadable, and left out."""

    @property
    def good(self) -> int:
        return self.total - self.quarantined


def without_bad(
    splits: Splits, root: Path, cache: Path, bad: BadImages
) -> tuple[Splits, ImageCounts]:
    """All of `splits`, or with `quarantine` their readable images; and how many there are of each.

    Raises `ValueError` for unreadable images under `strict`, and for a root that is not as it was
    when it was verified. A root without a manifest is taken as it is.
    """
    manifest = Manifest.of_root(cache, root)
    if manifest is None:
        total = sum(len(part) for part in manifests.named_splits(splits).values())
        return splits, ImageCounts(False, total, 0)
    again = f"run `python src/prepare.py data.root={root}` again"
    if difference := manifest.difference(splits):
        raise ValueError(
            f"data.root={root} has changed since it was verified: {difference}; {again}"
        )
    unreadable = manifest.bad()
    if unreadable and bad == "strict":
        lines = [f"  {name}: {why}" for _, name, why in unreadable[:LISTED]]
        if (more := len(unreadable) - LISTED) > 0:
            lines.append(f"  and {more:,} more in {manifests.folder(cache, root) / 'bad.txt'}")
        raise ValueError(
            f"data.root={root}: {len(unreadable):,} of {len(manifest.table):,} images cannot be "
            f"read, as prepare found:\n" + "\n".join(lines) + f"\nmend or remove them and {again}, "
            f"or pass data.bad=quarantine to train without them"
        )
    manifest.require_classes()
    kept = {}
    for split, part in manifests.named_splits(splits).items():
        good = manifest.good(split)
        kept[split] = part if good.all() else Subset(part, np.flatnonzero(good))
    readable = Splits.of(splits.classes, kept, kept["val"])
    return readable, ImageCounts(True, len(manifest.table), len(unreadable))
