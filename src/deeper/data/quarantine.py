"""Leaves out, or refuses, the images that the manifest of a root knows to be unreadable."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from deeper.data import manifest as manifests
from deeper.data.hashes import names_digest
from deeper.data.manifest import Manifest, named_splits, readable
from deeper.data.source import Splits
from deeper.data.splits import Subset

BadImages = Literal["strict", "quarantine"]
"""What becomes of unreadable images: strict refuses them, quarantine leaves them out."""


class ImageCounts(NamedTuple):
    """Numbers of images of a source, before any is held out or limited away."""

    verified: bool
    """Whether there is a manifest."""
    total: int
    quarantined: int
    """Unreadable, and left out."""


def without_bad(
    splits: Splits, root: Path, cache: Path, bad: BadImages
) -> tuple[Splits, ImageCounts]:
    """All of `splits`, or with `quarantine` their readable images; and how many there are of each.

    Raises `ValueError` for unreadable images under `strict`, and for a root that is not as it was
    when it was verified. A root without a manifest is taken as it is.
    """
    manifest, parts = Manifest.of_root(cache, root), named_splits(splits)
    if manifest is None:
        return splits, ImageCounts(False, sum(map(len, parts.values())), 0)
    again = f"run `python src/prepare.py data.root={root}` again"
    found = {split: names_digest(part, splits.classes) for split, part in parts.items()}
    if changed := {split for split, _ in found.items() ^ manifest.digests.items()}:
        raise ValueError(
            f"data.root={root}: number, names or classes of the images of "
            f"{' and '.join(sorted(changed))} have changed since they were verified; {again}"
        )
    if bad == "strict" and (text := manifest.unreadable(manifests.folder(cache, root))):
        raise ValueError(
            f"data.root={root}: {text}\nmend or remove them and {again}, or pass "
            f"data.bad=quarantine to train without them"
        )
    manifest.require_classes()
    kept = {}
    for split, part in parts.items():
        good = readable(manifest.splits[split])
        kept[split] = part if good.all() else Subset(part, np.flatnonzero(good))
    counts = ImageCounts(True, len(manifest.table), len(manifest.bad()))
    return Splits.of(splits.classes, kept, kept["val"]), counts
