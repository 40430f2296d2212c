"""CIFAR-10 and Imagenette: downloaded by torchvision, or read from a folder that has them already."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image
from torchvision import datasets

from deeper.data.source import Splits
from deeper.data.sources.folder import Folder


class LabelledDataset:
    """A torchvision data set and its labels as an array."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.labels = dataset, np.array(dataset.targets, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image, int]:
        image, label = self.dataset[index]
        return image, int(label)


class CIFAR10:
    """60,000 photos of 32 px in 10 classes (Krizhevsky, 2009), in class folders or downloaded to `root`."""

    def __init__(self, root: str | Path, cache: str | Path) -> None:
        self.root, self.cache = Path(root).expanduser(), cache

    def prepare(self) -> None:
        if not _has_train(self.root):
            _download("CIFAR-10", self.root, datasets.CIFAR10)

    def load(self) -> Splits:
        if _has_train(self.root):
            return Folder(self.root, self.cache, num_classes=10).load()
        train, test = (datasets.CIFAR10(self.root, train=train) for train in (True, False))
        official = LabelledDataset(test)
        return Splits(train.classes, LabelledDataset(train), official, official)


class Imagenette:
    """13,394 ImageNet photos of 10 classes, shorter side 160 px, in `root` or downloaded there.

    Classes are named by wnid, as ImageNet's are.
    """

    def __init__(self, root: str | Path, cache: str | Path) -> None:
        self.root, self.cache = Path(root).expanduser(), cache

    def prepare(self) -> None:
        if not _has_train(self._unpacked()):
            _download("Imagenette", self.root, partial(datasets.Imagenette, size="160px"))

    def load(self) -> Splits:
        return Folder(self._unpacked(), self.cache, num_classes=10).load()

    def _unpacked(self) -> Path:
        return self.root if _has_train(self.root) else self.root / "imagenette2-160"


def _has_train(root: Path) -> bool:
    return (root / "train").is_dir()


def _download(name: str, root: Path, dataset: Callable[..., Any]) -> None:
    try:
        dataset(root, download=True)
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            root.rmdir()  # torchvision makes the folder before it looks for the network
        raise ValueError(
            f"{name} is not under data.root={root} and could not be downloaded ({error}); with a "
            f"network run this again, else pass data.root=<a folder with train/<class>/* and val/<class>/*>"
        ) from error
