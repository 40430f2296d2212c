"""The official archives, read in place: the offset of each image is found once and cached.

`ILSVRC2012_img_train.tar` holds a tar for each class.
"""

import logging
import os
from io import FileIO
from pathlib import Path

import numpy as np

from deeper.data.images.stored import ArchiveImages, Columns
from deeper.data.layouts import index, listing, tar, val_labels
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
log = logging.getLogger(__name__)


def fits(root: Path) -> bool:
    return all((root / name).is_file() for name in (TRAIN, VAL))


def load_splits(root: Path, cache: Path) -> Splits:
    listed = index.cached("archives", root, cache, _listed)
    train, val = (
        ArchiveImages(root / name, **listed.splits[split])
        for split, name in (("train", TRAIN), ("val", VAL))
    )
    return Splits(listed.classes, train, val, val)


def _listed(root: Path) -> Index:
    log.info("listing the images in %s; this is done once", root / TRAIN)
    by_class = _train(root / TRAIN)
    classes = sorted(by_class)
    train = [(f"{TRAIN}:{name}.tar", image) for name in classes for image in by_class[name]]
    train_labels = np.repeat(np.arange(len(classes)), [len(by_class[name]) for name in classes])

    path = root / VAL
    with FileIO(path) as file:
        val = _images(file, 0, path.stat().st_size, str(path))
    names = [image.name for image in val]
    labels, label_list = val_labels.read_labels(path, names, classes, [root])
    order = np.argsort(labels, kind="stable")
    splits = {
        "train": _columns(train) | {"labels": train_labels},
        "val": _columns([(VAL, val[i]) for i in order]) | {"labels": labels[order]},
    }
    return Index(classes, splits, [root / TRAIN, path, label_list])


def _train(path: Path) -> dict[str, list[tar.Member]]:
    """Class → its images, by name."""
    found: dict[str, list[tar.Member]] = {}
    with FileIO(path) as file:
        for inner in [*tar.members(file, 0, path.stat().st_size, str(path))]:
            wnid, _, suffix = inner.name.rpartition(".")
            if suffix != "tar" or wnid in found:
                raise ValueError(
                    f"{path} holds {inner.name!r}; expected one <wnid>.tar for each class, as in the "
                    f"official archive"
                )
            end = inner.offset + inner.size
            found[wnid] = _images(file, inner.offset, end, f"{path}:{inner.name}")
    if not found:
        raise ValueError(f"{path} is empty; expected one <wnid>.tar for each class")
    return found


def _images(file: FileIO, start: int, end: int, archive: str) -> list[tar.Member]:
    """The images of one tar, by name."""
    members = tar.members(file, start, end, archive)
    images = [member for member in members if listing.is_image(os.fsencode(member.name))]
    if not images:
        raise ValueError(f"{archive} holds no image")
    return sorted(images, key=lambda member: os.fsencode(member.name))


def _columns(images: list[tuple[str, tar.Member]]) -> Columns:
    """Of images and the archives that hold them."""
    names = [os.fsencode(f"{archive}:{image.name}") for archive, image in images]
    return {
        "offsets": np.array([image.offset for _, image in images], dtype=np.int64),
        "sizes": np.array([image.size for _, image in images], dtype=np.int64),
        "names": np.array(names, dtype=np.bytes_),
    }
