"""Kaggle's "ImageNet Object Localization Challenge": the images of ILSVRC 2012 below `ILSVRC/Data/CLS-LOC`."""

from pathlib import Path

from deeper.data.images.stored import Files
from deeper.data.layouts import flat_val, index, listing
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

INSIDE = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")


def fits(root: Path) -> bool:
    return any((root / inside / "train").is_dir() for inside in INSIDE)


def load(root: Path, cache: Path | None) -> Splits:
    """`root` is what was unpacked, or the ILSVRC in it."""
    listed = index.kept("kaggle", root, cache, lambda: _listed(root))
    train, val = (Files(root, c["names"], c["labels"]) for c in listed.splits.values())
    return Splits(listed.classes, train, val, val)


def _listed(root: Path) -> Index:
    inside = next(inside for inside in INSIDE if (root / inside / "train").is_dir())
    images = root / inside
    if not (images / "val").is_dir():
        raise ValueError(f"{images} has no val/; unpack all of the data set")
    if flat_val.fits(images):
        above = root if inside == INSIDE[0] else root.absolute().parent
        return flat_val.listed_in(root, inside, [above, images, images / "val"])
    names = listing.classes(images / "train")  # somebody sorted val/ into folders
    splits = [f"{inside}/train", f"{inside}/val"]
    listing.require_same(images, names, "val", listing.classes(images / "val"))
    return Index(
        names,
        {split: listing.by_class(root, split, names) for split in splits},
        [folder for split in splits for folder in listing.watched(root, split, names)],
    )
