"""The interface of a source of images: a data set of your own is one class with two methods."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL.Image import Image

from deeper.data.images.encoded import Encoded


class LabelledImages(Protocol):
    """A map-style data set whose labels are known before any image is read."""

    labels: NDArray[np.int64]
    """[n], each in 0..len(classes)-1"""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Image | Encoded, int]:
        """An image of any size, RGB or still encoded, and its label."""
        ...


class Splits(NamedTuple):
    classes: list[str]
    """Sorted; a label is an index into this list."""
    train: LabelledImages
    """Empty for a test set that has no training images."""
    val: LabelledImages
    """The official validation set; the test set where there is no other; empty for training images alone."""
    test: LabelledImages
    """The set that `test` reports; the same object as `val` where there is one official set."""

    @classmethod
    def of(
        cls, classes: list[str], parts: Mapping[str, LabelledImages], empty: LabelledImages
    ) -> "Splits":
        """From `train` with `val`, `test`, both or neither; `empty` stands in for neither."""
        val = parts.get("val", parts.get("test", empty))
        return cls(classes, parts["train"], val, parts.get("test", val))


class Source(Protocol):
    def prepare(self) -> None:
        """Download or generate missing files. One process at a time calls this."""

    def load(self) -> Splits:
        """List the images. Raises `ValueError` that names the file or class that is wrong."""
        ...


def path_key(path: Path) -> str:
    """The cache's name for an absolute path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def prepare_once(source: Source, root: Path, cache: Path) -> None:
    """Calls `source.prepare()`, one process at a time among all that share the cache."""
    locks = cache.expanduser() / "locks"  # in the cache, since `root` may be read-only
    try:
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{path_key(root.expanduser().absolute())}.lock").acquire()
    except OSError as error:
        raise ValueError(
            f"paths.cache={cache}: cannot be written ({error}); pass paths.cache=<a folder that can>"
        ) from error
    with lock:
        source.prepare()
