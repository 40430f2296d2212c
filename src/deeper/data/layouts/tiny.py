"""Tiny-ImageNet as Stanford's CS231n distributes it: 200 classes of 64 px."""

from pathlib import Path

from deeper.data.layouts import flat_val, listing
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

INSIDE = "images"


def fits(root: Path) -> bool:
    return (root / "wnids.txt").is_file() and (root / "val" / INSIDE).is_dir()


def load_splits(root: Path, cache: Path) -> Splits:
    return listing.cached("tiny", root, cache, _listed)


def _listed(root: Path) -> Index:
    classes = listing.classes(root / "train")
    train = listing.by_class(root, "train", classes, INSIDE)
    val, watched = flat_val.labelled(root, f"val/{INSIDE}", classes, [root / "val"])
    watched += listing.watched(root, "train", classes, INSIDE)
    return Index(classes, {"train": train, "val": val}, watched)
