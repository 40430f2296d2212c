"""`train/<wnid>/*`, and `val/*` without class folders, as the official archive unpacks."""

import os
from pathlib import Path

import numpy as np

from deeper.data.images.encoded import SUFFIXES
from deeper.data.images.stored import Columns
from deeper.data.layouts import listing, val_labels
from deeper.data.layouts.index import Index
from deeper.data.source import Splits


def fits(root: Path) -> bool:
    val = root / "val"
    if not (root / "train").is_dir() or not val.is_dir():
        return False
    with os.scandir(os.fsencode(val)) as entries:
        return any(listing.is_image(entry.name) for entry in entries)


def load_splits(root: Path, cache: Path) -> Splits:
    return listing.cached("flat_val", root, cache, _listed)


def _listed(root: Path) -> Index:
    classes = listing.classes(root / "train")
    train = listing.by_class(root, "train", classes)
    places = [root, root / "val"]
    if root.absolute().name == "CLS-LOC":  # Kaggle's list lies three folders above its images
        places += [*root.absolute().parents][2:3]
    val, watched = labelled(root, "val", classes, places)
    watched += listing.watched(root, "train", classes)
    return Index(classes, {"train": train, "val": val}, watched)


def labelled(
    root: Path, split: str, classes: list[str], places: list[Path]
) -> tuple[Columns, list[Path]]:
    """The images of one folder, by class and then by name, and what changes when they do.

    The order is that of class folders, so that a set has the same order in every layout.
    """
    files = listing.images(root / split)
    if not files:
        raise ValueError(f"{root / split} holds no image ({', '.join(SUFFIXES)})")
    names = [os.fsdecode(file) for file in files]
    labels, label_list = val_labels.read_labels(root / split, names, classes, places)
    paths = np.array([os.path.join(os.fsencode(split), file) for file in files], dtype=np.bytes_)
    order = np.argsort(labels, kind="stable")
    return {"names": paths[order], "labels": labels[order]}, [root / split, label_list]
