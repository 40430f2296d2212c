"""What lies in folders, listed without a look at each file."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from deeper.data.stored import Columns, Names

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm")
_SUFFIXES = tuple(suffix.encode() for suffix in SUFFIXES)


def is_image(name: bytes) -> bool:
    """By its suffix. `._x.jpg` is what macOS leaves beside x.jpg."""
    return name.lower().endswith(_SUFFIXES) and not name.startswith(b"._")


def images(folder: Path) -> list[bytes]:
    """Sorted names; what is no image by its suffix is passed over, what only looks like one refused."""
    names = []
    with os.scandir(os.fsencode(folder)) as entries:
        for entry in entries:
            if is_image(entry.name):
                # Links may dangle: that is said where the image is read. The rest tell their kind for free.
                if not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                    raise ValueError(f"{os.fsdecode(entry.path)} is no file; expected an image")
                names.append(entry.name)
    return sorted(names)


def folders(folder: Path) -> list[str]:
    """Sorted names of the folders in a folder."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def classes(split: Path) -> list[str]:
    """The names of class folders."""
    if not (found := folders(split)):
        raise ValueError(f"{split} holds no class folders; expected {split}/<class>/*.jpg")
    return found


def require_same(root: Path, expected: Iterable[str], split: str, found: Iterable[str]) -> None:
    """Refuse a split whose classes are not those of train."""
    if others := set(expected) ^ set(found):
        raise ValueError(
            f"{root}: the classes of train/ and {split}/ differ in {', '.join(sorted(others)[:5])}; "
            f"labels would shift without a word"
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
