"""Images stored in files, one per file or many; names and labels are arrays.

A million entries take little memory, and forked processes share them.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from deeper.data.images.encoded import Encoded

Names = NDArray[np.bytes_]
Columns = dict[str, NDArray[Any]]
"""Arrays by name, most with one entry per image."""


class StoredImages:
    """Base class of images in files below `root`."""

    root: Path
    names: Names
    """Unique and relative to `root`: a path, or "archive.tar:member"."""
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Encoded, int]:
        return Encoded(self.read(index), self.where(index)), int(self.labels[index])

    def read(self, index: int) -> bytes:
        """The bytes of an image. Raises `ValueError` that names it."""
        try:
            return self._read(index)
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"cannot read the image {self.where(index)}: {error}") from error

    def _read(self, index: int) -> bytes:
        raise NotImplementedError

    def name(self, index: int) -> str:
        return os.fsdecode(self.names[index])

    def where(self, index: int) -> str:
        """The name below the root, for errors."""
        return os.path.join(self.root, self.name(index))

    def path(self, index: int) -> str:
        """The file that has the image, alone or with others."""
        raise NotImplementedError


class FileImages(StoredImages):
    """One file per image."""

    def __init__(
        self, root: Path, names: list[str] | Names, labels: list[int] | NDArray[np.int64]
    ) -> None:
        if isinstance(names, list):
            names = np.array([os.fsencode(name) for name in names], dtype=np.bytes_)
        self.root, self.names, self.labels = root, names, np.asarray(labels, dtype=np.int64)

    def path(self, index: int) -> str:
        return self.where(index)

    def _read(self, index: int) -> bytes:
        with open(self.where(index), "rb", buffering=0) as file:
            return file.read()


class ArchiveImages(StoredImages):
    """Members of the tar `archive`: `sizes` bytes at `offsets` each."""

    def __init__(
        self,
        archive: Path,
        offsets: NDArray[np.int64],
        sizes: NDArray[np.int64],
        names: Names,
        labels: NDArray[np.int64],
    ) -> None:
        self.archive, self.root = archive, archive.parent
        self.offsets, self.sizes, self.names, self.labels = offsets, sizes, names, labels

    def path(self, index: int) -> str:
        return str(self.archive)

    def _read(self, index: int) -> bytes:
        size = int(self.sizes[index])
        data = os.pread(_descriptor(self.archive), size, int(self.offsets[index]))
        if len(data) < size:
            raise OSError(
                f"the file ends {size - len(data)} bytes too early; it was cut after it was listed"
            )
        return data


@cache
def _descriptor(path: Path) -> int:
    """A file that stays open. Forked processes may share it, since `pread` moves no position."""
    return os.open(path, os.O_RDONLY)
