"""Small public sets that torchvision downloads, or that lie in a folder already."""

from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
from PIL.Image import Image
from torchvision import datasets

from deeper.data.source import Splits
from deeper.data.sources.folder import Folder


class Labelled:
    """A torchvision data set with its labels beside it."""

    def __init__(self, images: Any, labels: list[int]) -> None:
        self.images, self.labels = images, np.array(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image, int]:
        image, label = self.images[index]
        return image.convert("RGB"), int(label)


class CIFAR10:
    """60,000 photos of 32 px in 10 classes (Krizhevsky, 2009), from `root`'s folders or downloaded there."""

    def __init__(self, root: str, cache: str | None = None) -> None:
        self.root = Path(root).expanduser()

    def prepare(self) -> None:
        if not _is_folder(self.root):
            _download("CIFAR-10", self.root, lambda: datasets.CIFAR10(self.root, download=True))

    def load(self) -> Splits:
        if _is_folder(self.root):
            return Folder(str(self.root), num_classes=10).load()
        train, test = (datasets.CIFAR10(self.root, train=train) for train in (True, False))
        official = Labelled(test, test.targets)
        return Splits(train.classes, Labelled(train, train.targets), official, official)


class Imagenette:
    """13,394 ImageNet photos of 10 easy classes, shorter side 160 px, or a folder of them.

    Classes are named by wnid, as ImageNet's own.
    """

    def __init__(self, root: str, cache: str | None = None) -> None:
        self.root = Path(root).expanduser()
        self.unpacked = self.root / "imagenette2-160"

    def prepare(self) -> None:
        if not _is_folder(self.root) and not _is_folder(self.unpacked):
            get = lambda: datasets.Imagenette(self.root, size="160px", download=True)  # noqa: E731
            _download("Imagenette", self.root, get)

    def load(self) -> Splits:
        root = self.root if _is_folder(self.root) else self.unpacked
        return Folder(str(root), num_classes=10).load()


def _is_folder(root: Path) -> bool:
    return (root / "train").is_dir()


def _download(name: str, root: Path, get: Any) -> None:
    try:
        get()
    except (URLError, OSError, RuntimeError) as error:
        with suppress(OSError):
            root.rmdir()  # torchvision makes it before it looks for the network
        raise ValueError(
            f"{name} is not under data.root={root} and could not be downloaded ({error}); with a "
            f"network run this again, else pass data.root=<a folder with train/<class>/* and val/<class>/*>"
        ) from error
