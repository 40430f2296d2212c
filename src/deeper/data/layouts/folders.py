"""Images as files: `train/<class>/*`, `val/` and `test/` alike, or a flat `val/` with a list of its labels.

This is how the official archives unpack. Kaggle's download has it below `ILSVRC/Data/CLS-LOC`, and
Tiny-ImageNet has its images in folders of their own: `train/<wnid>/images/*` and `val/images/*`
(or, rearranged, `val/<wnid>/`).
"""

import os
from pathlib import Path

import numpy as np

from deeper.data.images.stored import Columns
from deeper.data.layouts import listing, val_labels
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

KAGGLE = Path("ILSVRC/Data/CLS-LOC")
TINY = "images"


def fits(root: Path) -> bool:
    return (_inner(root) / "train").is_dir()


def load_splits(root: Path, cache: Path) -> Splits:
    return listing.cached_splits("folders", _inner(root), cache, _listed)


def _inner(root: Path) -> Path:
    """The folder that holds train/; `root` may be Kaggle's download or the `ILSVRC` in it."""
    inner = (root / KAGGLE, root / KAGGLE.relative_to("ILSVRC"))
    return next((folder for folder in inner if (folder / "train").is_dir()), root)


def _listed(root: Path) -> Index:
    classes = listing.classes(root / "train")
    inside = TINY if (root / "train" / classes[0] / TINY).is_dir() else ""
    splits = {"train": listing.by_class(root, "train", classes, inside)}
    watched = listing.watched(root, "train", classes, inside)
    for split in ("val", "test"):
        folder = root / split / inside
        if not (root / split).is_dir():
            continue
        if not (folder.is_dir() and listing.has_images(folder)):
            _require_same(root, split, classes)
            within = TINY if (root / split / classes[0] / TINY).is_dir() else ""
            splits[split] = listing.by_class(root, split, classes, within)
            watched += listing.watched(root, split, classes, within)
        elif split == "val":  # ILSVRC's test images have no public labels
            splits[split], label_list = _flat(root, folder, classes)
            watched += [folder, label_list]
    return Index(classes, splits, watched)


def _require_same(root: Path, split: str, classes: list[str]) -> None:
    if others := set(classes) ^ set(listing.classes(root / split)):
        raise ValueError(
            f"{root}: the classes of train/ and {split}/ differ in {', '.join(sorted(others)[:5])}: "
            f"labels would shift"
        )


def _flat(root: Path, folder: Path, classes: list[str]) -> tuple[Columns, Path]:
    """The images of one folder, by class and then by name, and the list that has their labels.

    The order is that of class folders, so that a set has the same order in every layout.
    """
    files = listing.images(folder)
    places = [root, root / "val"]
    if root.absolute().name == KAGGLE.name:  # Kaggle's list lies three folders above its images
        places.append(root.absolute().parents[2])
    names = [os.fsdecode(file) for file in files]
    labels, label_list = val_labels.read_labels(folder, names, classes, places)
    paths = np.array([os.path.join(os.fsencode(folder.relative_to(root)), file) for file in files])
    order = np.argsort(labels, kind="stable")
    return {"names": paths[order], "labels": labels[order]}, label_list
