"""The official archives, read in place: where each image lies is found once and kept in the cache.

`ILSVRC2012_img_train.tar` holds a tar for each class.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from deeper.data.images.stored import Columns, Ranges
from deeper.data.layouts import ground_truth, index, listing, tar
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
log = logging.getLogger(__name__)


def fits(root: Path) -> bool:
    return all(_archive(root, name).is_file() for name in (TRAIN, VAL))


def load(root: Path, cache: Path | None) -> Splits:
    paths = [_archive(root, name) for name in (TRAIN, VAL)]
    for path in paths:
        tar.require_plain(path)
    listed = index.kept("archives", root, cache, lambda: _listed(root, *paths))
    train, val = (
        Ranges([path], c["file"], c["offset"], c["size"], c["names"], c["labels"])
        for path, c in zip(paths, listed.splits.values(), strict=True)
    )
    return Splits(listed.classes, train, val, val)


def _archive(root: Path, name: str) -> Path:
    """Compressed ones are found too, and then refused with the reason."""
    compressed = root / f"{name}.gz"
    return compressed if compressed.is_file() and not (root / name).exists() else root / name


def _listed(root: Path, train: Path, val: Path) -> Index:
    log.info("finding the images in %s; this is done once", train)
    classes, in_train = _train(train)
    with _reader(val) as (read, size):
        found = [m for m in tar.members(read, 0, size, str(val)) if _is_image(m)]
    if not found:
        raise ValueError(f"{val} holds no image; expected ILSVRC2012_val_00000001.JPEG …")
    found.sort(key=lambda member: os.fsencode(member.name))
    names = [member.name.rpartition("/")[2] for member in found]
    labels, lists = ground_truth.labels(val, names, classes, [root])
    order = np.argsort(labels, kind="stable")
    in_val = _columns([found[i] for i in order], val.name, labels[order])
    return Index(classes, {"train": in_train, "val": in_val}, [train, val, *lists])


def _train(path: Path) -> tuple[list[str], Columns]:
    """Classes, sorted, and their images, by class and then by name."""
    parts: dict[str, Columns] = {}
    with _reader(path) as (read, size):
        for archive in tar.members(read, 0, size, str(path)):
            name = archive.name.rpartition("/")[2]
            wnid, _, suffix = name.rpartition(".")
            if suffix != "tar" or wnid in parts:
                raise ValueError(
                    f"{path} holds {archive.name!r}; expected one <wnid>.tar for each class, as in "
                    f"the official archive"
                )
            end = archive.offset + archive.size
            # The outer archive vouches for the length of this one.
            inner = tar.members(read, archive.offset, end, f"{path}:{name}", marked=False)
            if not (found := [member for member in inner if _is_image(member)]):
                raise ValueError(f"{path}:{name} holds no image; is it complete?")
            found.sort(key=lambda member: os.fsencode(member.name))
            parts[wnid] = _columns(found, f"{path.name}:{name}", np.zeros(len(found), np.int64))
    if not parts:
        raise ValueError(f"{path} is empty; expected one <wnid>.tar for each class")
    classes = sorted(parts)
    for label, wnid in enumerate(classes):
        parts[wnid]["labels"] += label
    columns = {
        key: np.concatenate([parts[wnid][key] for wnid in classes]) for key in parts[classes[0]]
    }
    return classes, columns


def _is_image(member: tar.Member) -> bool:
    return listing.is_image(os.fsencode(member.name.rpartition("/")[2]))


def _columns(found: list[tar.Member], archive: str, labels: np.ndarray) -> Columns:
    names = [os.fsencode(f"{archive}:{member.name}") for member in found]
    return {
        "file": np.zeros(len(found), dtype=np.int32),
        "offset": np.array([member.offset for member in found], dtype=np.int64),
        "size": np.array([member.size for member in found], dtype=np.int64),
        "names": np.array(names, dtype=np.bytes_),
        "labels": labels,
    }


@contextmanager
def _reader(path: Path) -> Iterator[tuple[tar.Read, int]]:
    """Reads bytes at a place, and the size of the file."""
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        if hasattr(os, "posix_fadvise"):  # headers only: what lies between them is not wanted
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        yield (
            (lambda count, offset: os.pread(descriptor, count, offset)),
            os.fstat(descriptor).st_size,
        )
