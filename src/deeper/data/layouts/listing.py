"""Images and classes in folders, listed without a `stat` of each file."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from deeper.data.images.encoded import FORMATS, SUFFIXES, UNREAD
from deeper.data.images.stored import Columns, FileImages, Names
from deeper.data.layouts import index
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

_SUFFIXES = tuple(suffix.encode() for suffix in SUFFIXES)
_UNREAD = tuple(suffix.encode() for suffix in UNREAD)
_HIDDEN = (".", "__MACOSX", "@eaDir")
"""Beginnings of folder names that macOS, notebooks and network disks leave anywhere."""


def is_image(name: bytes) -> bool:
    """By its suffix. macOS leaves `._x.jpg` beside x.jpg."""
    return name.lower().endswith(_SUFFIXES) and not name.startswith(b"._")


def has_images(folder: Path) -> bool:
    with os.scandir(os.fsencode(folder)) as entries:
        return any(is_image(entry.name) for entry in entries)


def images(folder: Path) -> list[bytes]:
    """Sorted names of the images in a folder.

    Other files are ignored, but not folders nor images of a format that is not read: they would be
    missed.
    """
    names = []
    with os.scandir(os.fsencode(folder)) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if is_image(entry.name):
                names.append(entry.name)
            elif os.fsdecode(entry.name).startswith(_HIDDEN):
                continue
            elif entry.name.lower().endswith(_UNREAD):
                raise ValueError(
                    f"{os.fsdecode(entry.path)} is of a format that is not read; convert such files "
                    f"to one of {', '.join(FORMATS)}, or remove them"
                )
            elif entry.is_dir():
                raise ValueError(
                    f"{os.fsdecode(entry.path)} is a folder beside images, and those in it would not "
                    f"be read; move the ones or the others"
                )
    return names


def folders(folder: Path) -> list[str]:
    """Sorted names of the folders in a folder, without hidden ones."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return sorted(name for name in names if not name.startswith(_HIDDEN))


def classes(split: Path) -> list[str]:
    """The names of the class folders."""
    if names := folders(split):
        return names
    raise ValueError(f"{split} holds no class folders; expected {split}/<class>/*.jpg")


def by_class(root: Path, split: str, names: list[str], inside: str = "") -> Columns:
    """The images in `root/split/<class>/inside`, by class and then by name."""
    parts: list[Names] = []
    for name in names:
        folder = root / split / name / inside
        if not folder.is_dir() or not (files := images(folder)):
            raise ValueError(
                f"{folder} holds no image ({', '.join(SUFFIXES)}); "
                f"remove the folder from every split or add images"
            )
        before = os.fsencode(os.path.join(split, name, inside, ""))
        parts.append(np.array([before + file for file in files], dtype=np.bytes_))
    labels = np.repeat(np.arange(len(names)), [len(part) for part in parts])
    return {"names": np.concatenate(parts), "labels": labels}


def watched(root: Path, split: str, names: list[str], inside: str = "") -> list[Path]:
    """The folders that change when an image, a class or a split is added or removed."""
    return [root, root / split, *(root / split / name / inside for name in names)]


def cached_splits(layout: str, root: Path, cache: Path, build: Callable[[Path], Index]) -> Splits:
    """The splits of a root in which images are files of their own."""
    listed = index.cached(layout, root, cache, build)
    parts = {split: FileImages(root, **columns) for split, columns in listed.splits.items()}
    return Splits.of(listed.classes, parts, FileImages(root, [], []))
