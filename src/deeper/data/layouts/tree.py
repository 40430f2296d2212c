"""`train/<class>/*`, with `val/<class>/*`, `test/<class>/*`, both or neither."""

from pathlib import Path

from deeper.data.layouts import flat_val, index, listing, tiny
from deeper.data.layouts.index import Index
from deeper.data.source import Splits


def fits(root: Path) -> bool:
    if not (root / "train").is_dir() or tiny.fits(root):
        return False
    return not flat_val.fits(root) or bool(listing.folders(root / "val"))


def load_splits(root: Path, cache: Path) -> Splits:
    splits = ["train", *(split for split in ("val", "test") if (root / split).is_dir())]
    return listing.as_files(root, index.cached("tree", root, cache, lambda: _listed(root, splits)))


def _listed(root: Path, splits: list[str]) -> Index:
    classes = listing.classes(root / "train")
    for split in splits[1:]:
        listing.require_same(root, classes, split, listing.classes(root / split))
    return Index(
        classes,
        {split: listing.by_class(root, split, classes) for split in splits},
        [folder for split in splits for folder in listing.watched(root, split, classes)],
    )
