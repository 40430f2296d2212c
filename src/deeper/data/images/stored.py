"""Images stored in files, one per file or many; names and labels are arrays.

A million entries take little memory, and forked processes share them.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.data.images.encoded import Encoded

Names = NDArray[np.bytes_]
Columns = dict[str, NDArray[Any]]
"""Arrays of equal length, one entry per image."""


class StoredImages:
    """Base class of images in files below `root`.

    Names are unique and relative to `root`: a path, or "archive.tar:member".
    """

    root: Path
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Encoded, int]:
        return Encoded(self.read(index), self.where(index)), int(self.labels[index])

    def read(self, index: int) -> bytes | memoryview:
        """The bytes of an image. Raises `ValueError` that names it."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        raise NotImplementedError

    def where(self, index: int) -> str:
        """The name below the root, for errors."""
        return os.path.join(self.root, self.name(index))

    def path(self, index: int) -> str:
        """The file that has the image, alone or with others."""
        raise NotImplementedError


class FileImages(StoredImages):
    """One file per image, called `names` relative to `root`."""

    def __init__(
        self, root: Path, names: list[str] | Names, labels: list[int] | NDArray[np.int64]
    ) -> None:
        self.root = root
        if isinstance(names, list):
            names = np.array([os.fsencode(name) for name in names], dtype=np.bytes_)
        self.names: Names = names
        self.labels = np.asarray(labels, dtype=np.int64)

    def name(self, index: int) -> str:
        return os.fsdecode(self.names[index])

    def path(self, index: int) -> str:
        return self.where(index)

    def read(self, index: int) -> bytes:
        path = self.where(index)
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read()
        except OSError as error:
            raise ValueError(f"cannot read the image {path}: {error}") from error


class ArchiveImages(StoredImages):
    """Members of the tar `archive`: `size` bytes at `offset` each."""

    def __init__(
        self,
        archive: Path,
        offset: NDArray[np.int64],
        size: NDArray[np.int64],
        names: Names,
        labels: NDArray[np.int64],
    ) -> None:
        self.root, self.files = archive.parent, [archive]
        self.offset, self.sizes, self.names, self.labels = offset, size, names, labels

    def name(self, index: int) -> str:
        return os.fsdecode(self.names[index])

    def path(self, index: int) -> str:
        return os.fspath(self.files[0])

    def read(self, index: int) -> bytes:
        size = int(self.sizes[index])
        try:
            data = os.pread(_descriptor(self.files[0]), size, int(self.offset[index]))
        except OSError as error:
            raise ValueError(f"cannot read the image {self.where(index)}: {error}") from error
        if len(data) != size:
            raise ValueError(
                f"cannot read the image {self.where(index)}: the file ends {size - len(data)} bytes "
                f"too early; it was cut after it was listed"
            )
        return data


@cache
def _descriptor(path: Path) -> int:
    """A file that stays open. Forked processes may share it, since `pread` moves no position."""
    return os.open(path, os.O_RDONLY)
