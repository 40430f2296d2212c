"""What lies in folders, listed without a look at each file."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from deeper.data.images.encoded import FORMATS, SUFFIXES, UNREAD
from deeper.data.images.stored import Columns, Names

_SUFFIXES = tuple(suffix.encode() for suffix in SUFFIXES)
_UNREAD = tuple(suffix.encode() for suffix in UNREAD)

_OF_SYSTEMS = ("__MACOSX", "@eaDir")
"""Folders that unpacking on macOS and network disks leave anywhere."""


def is_image(name: bytes) -> bool:
    """By its suffix. `._x.jpg` is what macOS leaves beside x.jpg."""
    return name.lower().endswith(_SUFFIXES) and not name.startswith(b"._")


def images(folder: Path, beside_folders: bool = False) -> list[bytes]:
    """Sorted names; what is no picture by its suffix is passed over. Refused are pictures that
    would be passed over: of a format that is not read, or in folders below unless they may be there.
    """
    names = []
    with os.scandir(os.fsencode(folder)) as entries:
        for entry in entries:
            if is_image(entry.name):
                # Links may dangle: that is said where the image is read. The rest tell their kind for free.
                if not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                    raise ValueError(f"{os.fsdecode(entry.path)} is no file; expected an image")
                names.append(entry.name)
            elif entry.name.startswith(b"._"):
                continue
            elif entry.name.lower().endswith(_UNREAD):
                raise ValueError(
                    f"{os.fsdecode(entry.path)} is of a format that is not read; convert such files "
                    f"to one of {', '.join(FORMATS)}, or remove them"
                )
            elif beside_folders or _hidden(os.fsdecode(entry.name)):
                continue
            elif entry.is_dir(follow_symlinks=False) and _holds_pictures(entry.path):
                raise ValueError(
                    f"{os.fsdecode(entry.path)} is a folder among the images of one class, and what "
                    f"is in it would be passed over; move its images up, or remove it"
                )
    return sorted(names)


def _holds_pictures(folder: bytes) -> bool:
    """Or other folders, in which there may be some."""
    with os.scandir(folder) as entries:
        return any(is_image(entry.name) or entry.is_dir() for entry in entries)


def folders(folder: Path) -> list[str]:
    """Sorted names of the folders in a folder, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not _hidden(e.name) and _is_folder(e))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Only a link costs a look, and may lead back to itself."""
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _OF_SYSTEMS


def classes(split: Path) -> list[str]:
    """The names of class folders."""
    if not (found := folders(split)):
        raise ValueError(f"{split} holds no class folders; expected {split}/<class>/*.jpg")
    with os.scandir(split) as entries:
        for entry in entries:  # a class on a disk that is not there
            if entry.is_symlink() and not os.path.exists(entry):
                raise ValueError(f"{entry.path} is a link that leads nowhere; mend or remove it")
    for name in found:
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise ValueError(f"{split}: the class {name!a} is no UTF-8; rename its folder")
    return found


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
            f"{', '.join(only)}: labels would shift without a word"
        )


def by_class(root: Path, split: str, names: list[str], inside: str = "") -> Columns:
    """The images in `root/split/<class>/inside` for each class, in that order, then by name."""
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
    """The folders in which an image, a class or a split would come or go."""
    return [root, root / split, *(root / split / name / inside for name in names)]
