"""Images stored in files, one per file or many; names and labels are arrays.

A million entries take little memory, and forked processes share them.
"""

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.data.images.encoded import Encoded

Names = NDArray[np.bytes_]
Columns = dict[str, NDArray[Any]]
"""Arrays of equal length, one entry per image."""


class StoredImages:
    """Base class of images in files: `read` returns the bytes of an image, `name` its name.

    Names are unique and relative to the data's root: a path, or "archive.tar:member".
    """

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
        raise NotImplementedError

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

    def where(self, index: int) -> str:
        return os.path.join(self.root, self.name(index))

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
    """`size` bytes at `offset` of one of the tar `files` each.

    A process opens a file when it first reads from it.
    """

    def __init__(
        self,
        files: list[Path],
        file: NDArray[np.int32],
        offset: NDArray[np.int64],
        size: NDArray[np.int64],
        names: Names,
        labels: NDArray[np.int64],
    ) -> None:
        self.files, self.file, self.offset, self.sizes = files, file, offset, size
        self.names, self.labels = names, labels
        self._start()

    def _start(self) -> None:
        self._open: dict[int, int] = {}  # a fork may share them: pread moves no position
        weakref.finalize(self, _close, self._open)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def name(self, index: int) -> str:
        return os.fsdecode(self.names[index])

    def where(self, index: int) -> str:
        member = self.name(index).partition(":")[2]
        return f"{self.path(index)}:{member}"

    def path(self, index: int) -> str:
        file: Path = self.files[self.file[index]]
        return os.fspath(file)

    def read(self, index: int) -> bytes:
        file, size = int(self.file[index]), int(self.sizes[index])
        try:
            if file not in self._open:
                self._open[file] = os.open(self.files[file], os.O_RDONLY)
            data = os.pread(self._open[file], size, int(self.offset[index]))
        except OSError as error:
            raise ValueError(f"cannot read the image {self.where(index)}: {error}") from error
        if len(data) != size:
            raise ValueError(
                f"cannot read the image {self.where(index)}: the file ends {size - len(data)} bytes "
                f"too early; it was cut after it was listed"
            )
        return data


def _close(descriptors: dict[int, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
