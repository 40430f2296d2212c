"""`train/<class>/*` with `val/<class>/*`, `test/<class>/*` or both: the layout most people hold."""

from pathlib import Path

from deeper.data.images.stored import Files
from deeper.data.layouts import flat_val, found, index, listing, tiny
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

OFFICIAL = ("val", "test")


def fits(root: Path) -> bool:
    if not (root / "train").is_dir() or not _official(root) or tiny.fits(root):
        return False
    return not flat_val.fits(root) or bool(listing.folders(root / "val"))


def load(root: Path, cache: Path | None) -> Splits:
    official = require(root)
    listed = index.kept("tree", root, cache, lambda: _listed(root, official))
    parts = {name: Files(root, c["names"], c["labels"]) for name, c in listed.splits.items()}
    return Splits(listed.classes, parts["train"], parts[official[0]], parts[official[-1]])


def require(root: Path) -> list[str]:
    """The official splits beside `train/`: val, test or both. `ValueError` says what was found."""
    if not root.is_dir():
        raise ValueError(
            f"data.root={root}: no such folder; pass data.root=<a folder with train/<class>/* and "
            f"val/<class>/*>"
        )
    official = _official(root)
    if not official or not (root / "train").is_dir():
        raise ValueError(
            f"data.root={root}: found {found(root)}; expected train/<class>/* and val/<class>/* "
            f"(or test/<class>/*)"
        )
    return official


def _official(root: Path) -> list[str]:
    return [name for name in OFFICIAL if (root / name).is_dir()]


def _listed(root: Path, official: list[str]) -> Index:
    names = listing.classes(root / "train")
    splits = ("train", *official)
    for split in official:
        listing.require_same(root, names, split, listing.classes(root / split))
    return Index(
        names,
        {split: listing.by_class(root, split, names) for split in splits},
        [folder for split in splits for folder in listing.watched(root, split, names)],
    )
