"""Where images come from. A data set of your own is one class with these two methods."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL.Image import Image

from deeper.data.images.encoded import Encoded


class LabelledImages(Protocol):
    """A map-style data set that knows its labels without reading an image."""

    labels: NDArray[np.int64]
    """[n], each in 0..len(classes)-1"""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Image | Encoded, int]:
        """A picture of any size, RGB or still encoded, and its label."""
        ...


class Splits(NamedTuple):
    classes: list[str]
    """Sorted; a label is a place in this list."""
    train: LabelledImages
    val: LabelledImages
    """The official validation set; the test set again where there is only one."""
    test: LabelledImages
    """What `test` reports on, read once."""


class Source(Protocol):
    def prepare(self) -> None:
        """Download or generate what is missing. One process of a node at a time calls it."""

    def load(self) -> Splits:
        """Index the images. Raises `ValueError` that names the culprit for what is wrong with them."""
        ...


def path_key(path: Path) -> str:
    """What the cache calls a path, as it is spelt: make it absolute, or resolve it, before."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def prepare_once(source: Source, root: Path, cache: Path) -> None:
    """Safe for any number of processes that share a disk: one at a time prepares a root."""
    locks = cache.expanduser() / "locks"  # the data's own folder may be read-only
    lock = FileLock(locks / f"{path_key(root.expanduser().absolute())}.lock")
    try:
        locks.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise ValueError(
            f"paths.cache={cache}: cannot be written ({error}); pass paths.cache=<a folder that can>"
        ) from error
    try:
        source.prepare()
    finally:
        lock.release()
