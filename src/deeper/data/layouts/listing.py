"""Images and classes in folders, listed without a `stat` of each file."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from deeper.data.images.encoded import FORMATS, SUFFIXES, UNREAD
from deeper.data.images.stored import Columns, FileImages, Names
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

_SUFFIXES = tuple(suffix.encode() for suffix in SUFFIXES)
_UNREAD = tuple(suffix.encode() for suffix in UNREAD)
_HIDDEN = (".", "__MACOSX", "@eaDir")
"""Beginnings of folder names that macOS, notebooks and network disks leave anywhere."""


def as_files(root: Path, index: Index) -> Splits:
    """The splits of an index whose images are files of their own."""
    parts = {split: FileImages(root, **columns) for split, columns in index.splits.items()}
    return Splits.of(index.classes, parts, FileImages(root, [], []))


def is_image(name: bytes) -> bool:
    """By its suffix. macOS leaves `._x.jpg` beside x.jpg."""
    return name.lower().endswith(_SUFFIXES) and not name.startswith(b"._")


def images(folder: Path, beside_folders: bool = False) -> list[bytes]:
    """Sorted names of the images in a folder.

    Other files are ignored, but not images of a format that is not read, nor folders, whose images
    would be lost, unless they may be there (`beside_folders`).
    """
    names = []
    with os.scandir(os.fsencode(folder)) as entries:
        for entry in entries:
            if is_image(entry.name):
                names.append(entry.name)
            elif entry.name.lower().endswith(_UNREAD) and not entry.name.startswith(b"._"):
                raise ValueError(
                    f"{os.fsdecode(entry.path)} is of a format that is not read; convert such files "
                    f"to one of {', '.join(FORMATS)}, or remove them"
                )
            elif beside_folders or os.fsdecode(entry.name).startswith(_HIDDEN):
                continue
            elif entry.is_dir():
                raise ValueError(
                    f"{os.fsdecode(entry.path)} is a folder among the images of one class, and images "
                    f"in it would not be read; move them up, or remove it"
                )
    return sorted(names)


def folders(folder: Path) -> list[str]:
    """Sorted names of the folders in a folder, without hidden ones.

    A link to nowhere counts as a folder, so that a class on a disk that is not mounted is missed.
    """
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(_HIDDEN)
            and (entry.is_dir() or (entry.is_symlink() and not entry.is_file()))
        )


def classes(split: Path) -> list[str]:
    """The names of the class folders."""
    names = folders(split)
    if not names:
        raise ValueError(f"{split} holds no class folders; expected {split}/<class>/*.jpg")
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:  # no checkpoint could store it
            raise ValueError(
                f"{split}: the class {name!a} is no UTF-8; rename its folder"
            ) from None
    return names


def require_same(root: Path, expected: Iterable[str], split: str, found: Iterable[str]) -> None:
    """Refuse a split whose classes are not those of train."""
    ours, theirs = set(expected), set(found)
    if others := ours ^ theirs:
        only = [
            f"only {of}/ has {', '.join(sorted(names)[:5])}"
            for of, names in (("train", ours - theirs), (split, theirs - ours))
            if names
        ]
        raise ValueError(
            f"{root}: the classes of train/ and {split}/ differ in {', '.join(sorted(others)[:5])}; "
            f"{', '.join(only)}: labels would shift"
        )


def by_class(root: Path, split: str, names: list[str], inside: str = "") -> Columns:
    """The images in `root/split/<class>/inside`, by class and then by name."""
    parts: list[Names] = []
    for name in names:
        folder = root / split / name / inside
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder; expected the images of class {name} there")
        if not (files := images(folder)):
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
