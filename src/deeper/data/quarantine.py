"""What a manifest says about a source's images, before the first of them is trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from deeper.data import manifest as manifests
from deeper.data.manifest import FILE, Manifest
from deeper.data.source import Splits
from deeper.data.splits import Subset

Policy = Literal["strict", "quarantine"]
LISTED = 10


class Census(NamedTuple):
    """Of the images that a source has, before any is held out or limited away."""

    verified: bool
    """Whether there is a manifest."""
    total: int
    quarantined: int
    """Known to be unreadable, and left out."""

    @property
    def good(self) -> int:
        return self.total - self.quarantined


def admitted(splits: Splits, root: Path, cache: Path, policy: Policy) -> tuple[Splits, Census]:
    """All of `splits` if nothing is known to be bad; with `quarantine` what is good of them.

    Raises `ValueError` for bad images under `strict`, and for a root that is not as it was verified.
    """
    manifest = Manifest.of_root(cache, root)
    if manifest is None:
        total = sum(len(part) for part in manifests.parts(splits).values())
        return splits, Census(False, total, 0)
    again = f"run `python src/prepare.py data.root={root}` again"
    if difference := manifest.difference(splits):
        raise ValueError(
            f"data.root={root} has changed since it was verified: {difference}; {again}"
        )
    bad = manifest.bad()
    if bad and policy == "strict":
        full = manifests.folder(cache, root) / FILE
        lines = [f"  {name}: {why}" for _, name, why in bad[:LISTED]]
        lines += [f"  and {len(bad) - LISTED:,} more in {full.with_name('bad.txt')}"][
            : len(bad) > LISTED
        ]
        raise ValueError(
            f"data.root={root}: {len(bad):,} of {len(manifest.table):,} images cannot be read, as "
            f"prepare found:\n" + "\n".join(lines) + f"\nmend or remove them and {again}, or pass "
            f"data.bad=quarantine to train without them"
        )
    manifest.require_classes()
    good = {split: manifest.good(split) for split in manifest.counts}
    return _good(splits, good), Census(True, len(manifest.table), len(bad))


def _good(splits: Splits, good: Mapping[str, np.ndarray]) -> Splits:
    kept = {
        split: part if good[split].all() else Subset(part, np.flatnonzero(good[split]))
        for split, part in manifests.parts(splits).items()
    }
    return Splits(splits.classes, kept["train"], kept["val"], kept.get("test", kept["val"]))
