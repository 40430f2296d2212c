"""`train/<class>/*`, with `val/<class>/*`, `test/<class>/*`, both or neither."""

from pathlib import Path

from deeper.data.layouts import flat_val, listing, tiny
from deeper.data.layouts.index import Index
from deeper.data.source import Splits


def fits(root: Path) -> bool:
    return (root / "train").is_dir() and not tiny.fits(root) and not flat_val.fits(root)


def load_splits(root: Path, cache: Path) -> Splits:
    return listing.cached("tree", root, cache, _listed)


def _listed(root: Path) -> Index:
    splits = [split for split in ("train", "val", "test") if (root / split).is_dir()]
    classes = listing.classes(root / "train")
    for split in splits[1:]:
        if others := set(classes) ^ set(listing.classes(root / split)):
            raise ValueError(
                f"{root}: the classes of train/ and {split}/ differ in "
                f"{', '.join(sorted(others)[:5])}: labels would shift"
            )
    return Index(
        classes,
        {split: listing.by_class(root, split, classes) for split in splits},
        [folder for split in splits for folder in listing.watched(root, split, classes)],
    )
