"""`train/<wnid>/*` as unpacked, and val/ as it comes out of its archive: images without folders."""

import os
from pathlib import Path

import numpy as np

from deeper.data.images.encoded import SUFFIXES
from deeper.data.images.stored import Columns, Files
from deeper.data.layouts import ground_truth, index, listing
from deeper.data.layouts.index import Index
from deeper.data.source import Splits


def fits(root: Path) -> bool:
    val = root / "val"
    if not (root / "train").is_dir() or not val.is_dir():
        return False
    with os.scandir(os.fsencode(val)) as entries:
        return any(listing.is_image(entry.name) for entry in entries)


def load(root: Path, cache: Path | None) -> Splits:
    listed = index.kept("flat_val", root, cache, lambda: listed_in(root, "", _places(root)))
    train, val = (Files(root, c["names"], c["labels"]) for c in listed.splits.values())
    return Splits(listed.classes, train, val, val)


def listed_in(root: Path, inside: str, places: list[Path]) -> Index:
    """Of the train/ and flat val/ in `root/inside`, with names relative to `root`."""
    train, val = os.path.join(inside, "train"), os.path.join(inside, "val")
    names = listing.classes(root / train)
    by_class = listing.by_class(root, train, names)
    flat, lists = flat_images(root, val, names, places)
    watched = [*listing.watched(root, train, names), root / val, *lists]
    return Index(names, {"train": by_class, "val": flat}, watched)


def flat_images(
    root: Path, split: str, classes: list[str], places: list[Path]
) -> tuple[Columns, list[Path]]:
    """The labelled images of one folder, by class and then by name, and the lists that label them."""
    files = listing.images(root / split, beside_folders=True)
    if not files:
        raise ValueError(f"{root / split} holds no image ({', '.join(SUFFIXES)})")
    spelt = [os.fsdecode(file) for file in files]
    labels, lists = ground_truth.labels(root / split, spelt, classes, places)
    before = os.fsencode(os.path.join(split, ""))
    names = np.array([before + file for file in files], dtype=np.bytes_)
    return in_order(names, labels), lists


def in_order(names: np.ndarray, labels: np.ndarray) -> Columns:
    """As folders of classes would list them, so that one set is one in every form."""
    order = np.argsort(labels, kind="stable")
    return {"names": names[order], "labels": labels[order]}


def _places(root: Path) -> list[Path]:
    """Kaggle's list lies three folders above its images."""
    kaggle = root.absolute().name == "CLS-LOC"
    return [root, root / "val", *([root.absolute().parents[2]] if kaggle else [])]
