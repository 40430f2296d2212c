"""The official archives, read in place: the offset of each image is found once and cached.

`ILSVRC2012_img_train.tar` holds a tar for each class.
"""

import logging
import os
from io import FileIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeper.data.images.stored import ArchiveImages, Columns
from deeper.data.layouts import index, listing, tar, val_labels
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
log = logging.getLogger(__name__)


def fits(root: Path) -> bool:
    return all((root / name).is_file() for name in (TRAIN, VAL))


def load_splits(root: Path, cache: Path) -> Splits:
    listed = index.cached("archives", root, cache, lambda: _listed(root))
    train, val = (
        ArchiveImages(root / name, **listed.splits[split])
        for split, name in (("train", TRAIN), ("val", VAL))
    )
    return Splits(listed.classes, train, val, val)


def _listed(root: Path) -> Index:
    train, val = root / TRAIN, root / VAL
    log.info("listing the images in %s; this is done once", train)
    classes, in_train = _train(train)
    with FileIO(val) as file:
        images = _images(file, 0, val.stat().st_size, str(val))
    names = [member.name for member in images]
    labels, lists = val_labels.read_labels(val, names, classes, [root])
    order = np.argsort(labels, kind="stable")
    in_val = _columns([images[i] for i in order], VAL, labels[order])
    return Index(classes, {"train": in_train, "val": in_val}, [train, val, *lists])


def _train(path: Path) -> tuple[list[str], Columns]:
    """Sorted classes, and their images by class and then by name."""
    images: dict[str, list[tar.Member]] = {}
    with FileIO(path) as file:
        for inner in [*tar.members(file, 0, path.stat().st_size, str(path))]:
            wnid, _, suffix = inner.name.rpartition(".")
            if suffix != "tar" or wnid in images:
                raise ValueError(
                    f"{path} holds {inner.name!r}; expected one <wnid>.tar for each class, as in the "
                    f"official archive"
                )
            end = inner.offset + inner.size
            images[wnid] = _images(file, inner.offset, end, f"{path}:{inner.name}")
    classes = sorted(images)
    if not classes:
        raise ValueError(f"{path} is empty; expected one <wnid>.tar for each class")
    parts = [
        _columns(images[wnid], f"{TRAIN}:{wnid}.tar", np.full(len(images[wnid]), label))
        for label, wnid in enumerate(classes)
    ]
    return classes, {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _images(file: FileIO, start: int, end: int, archive: str) -> list[tar.Member]:
    """The images of one tar, by name."""
    images = [
        member
        for member in tar.members(file, start, end, archive)
        if listing.is_image(os.fsencode(member.name))
    ]
    if not images:
        raise ValueError(f"{archive} holds no image")
    images.sort(key=lambda member: os.fsencode(member.name))
    for first, second in pairwise(images):
        if first.name == second.name:
            raise ValueError(f"{archive} holds {first.name!r} twice; pack it anew")
    return images


def _columns(images: list[tar.Member], archive: str, labels: NDArray[np.int64]) -> Columns:
    names = [os.fsencode(f"{archive}:{member.name}") for member in images]
    return {
        "offset": np.array([member.offset for member in images], dtype=np.int64),
        "size": np.array([member.size for member in images], dtype=np.int64),
        "names": np.array(names, dtype=np.bytes_),
        "labels": labels,
    }
