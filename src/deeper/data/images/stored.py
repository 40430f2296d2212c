"""Images that lie in files, one each or many in one; names and labels in arrays.

A million entries cost little memory, and processes that fork share them.
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
"""Arrays of equal length, one entry an image."""


class Stored:
    """What forms of storage share: `read` gives an image's bytes, `name` what it is called.

    Names are unique and relative to the data's root: a path, or "archive.tar:member".
    """

    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Encoded, int]:
        return Encoded(self.read(index), self.where(index)), int(self.labels[index])

    def read(self, index: int) -> bytes | memoryview:
        """Raises `ValueError` that names the image."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        raise NotImplementedError

    def where(self, index: int) -> str:
        """The name with the root before it, for errors."""
        raise NotImplementedError

    def path(self, index: int) -> str:
        """Of the file that the image lies in, alone or with others."""
        raise NotImplementedError


class Files(Stored):
    """One file each, at `paths` relative to `root`."""

    def __init__(
        self, root: Path, paths: list[str] | Names, labels: list[int] | NDArray[np.int64]
    ) -> None:
        self.root = root
        if isinstance(paths, list):
            paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)
        self.names: Names = paths
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


class Ranges(Stored):
    """`size` bytes at `offset` of one of `files` each, e.g. members of a tar.

    Each process opens the files when it first needs them.
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
        self._open: dict[int, int] = {}  # pread keeps no place, so a fork may share what is open
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
                f"too early; it was cut since it was indexed"
            )
        return data


def _close(descriptors: dict[int, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
