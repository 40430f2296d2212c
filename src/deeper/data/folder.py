"""`train/<class>/*` with `val/<class>/*`, `test/<class>/*` or both: the layout most people hold."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper.data.source import Splits

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm")


class ImageFiles:
    """Paths and labels in two arrays: a million cost little, and workers fork without copies."""

    def __init__(self, root: Path, paths: list[str], labels: list[int]) -> None:
        self.root = root
        self.paths = np.array([os.fsencode(path) for path in paths])
        self.labels: NDArray[np.int64] = np.array(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path = self.root / os.fsdecode(self.paths[index])
        try:
            with Image.open(path) as image:
                return image.convert("RGB"), int(self.labels[index])
        except Exception as error:  # Pillow's readers raise what they like, SyntaxError too
            raise ValueError(f"cannot read the image {path}: {error}") from error


class Folder:
    """Images under `root`, classes by the names of their folders; `num_classes` is what to expect."""

    def __init__(self, root: str, num_classes: int | None = None) -> None:
        self.root, self.num_classes = Path(root).expanduser(), num_classes

    def prepare(self) -> None:
        """Nothing: the images are there, or `load` says what is missing."""

    def load(self) -> Splits:
        official = require_layout(self.root)
        classes = _classes(self.root / "train")
        if self.num_classes is not None and len(classes) != self.num_classes:
            raise ValueError(
                f"{self.root / 'train'} holds {len(classes)} class folders, expected "
                f"{self.num_classes}; for another set of classes pass data=folder data.root={self.root}"
            )
        splits = {name: _index(self.root, name, classes) for name in ("train", *official)}
        return Splits(classes, splits["train"], splits[official[0]], splits[official[-1]])


def require_layout(root: Path) -> list[str]:
    """The official splits beside `train/`: val, test or both. `ValueError` says what was found."""
    if not root.is_dir():
        raise ValueError(
            f"data.root={root}: no such folder; pass data.root=<a folder with train/<class>/* and "
            f"val/<class>/*>"
        )
    official = [name for name in ("val", "test") if (root / name).is_dir()]
    if not official or not (root / "train").is_dir():
        found = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
        raise ValueError(
            f"data.root={root}: found {found}; expected train/<class>/* and val/<class>/* "
            f"(or test/<class>/*)"
        )
    return official


def _classes(split: Path) -> list[str]:
    classes = sorted(entry.name for entry in os.scandir(split) if entry.is_dir())
    if not classes:
        raise ValueError(f"{split} holds no class folders; expected {split}/<class>/*.jpg")
    return classes


def _index(root: Path, split: str, classes: list[str]) -> ImageFiles:
    if others := set(_classes(root / split)) ^ set(classes):
        raise ValueError(
            f"{root}: the classes of train/ and {split}/ differ in {', '.join(sorted(others)[:5])}; "
            f"labels would shift without a word"
        )
    paths, labels = [], []
    for label, name in enumerate(classes):
        files = sorted(_images(root / split / name))
        if not files:
            raise ValueError(
                f"{root / split / name} holds no image ({', '.join(SUFFIXES)}); "
                f"remove the folder from every split or add images"
            )
        paths += [f"{split}/{name}/{file}" for file in files]
        labels += [label] * len(files)
    return ImageFiles(root, paths, labels)


def _images(folder: Path) -> list[str]:
    return [entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(SUFFIXES)]
