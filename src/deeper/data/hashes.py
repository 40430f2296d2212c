"""Hashes that identify the images of a data set, whatever their order, layout or place on the disk."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from deeper.data.images.stored import FileImages, StoredImages
from deeper.data.manifest import name_strings
from deeper.data.source import LabelledImages
from deeper.data.splits import Subset

BLOCK = 2**16
"""Names that are hashed at a time, so that memory does not grow with the data set."""

SALT = np.uint64(2067)
"""Decides what is held out. With this one it is 160 of the embedded data set's 1,600, as expected."""

FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)

SIZED = 2**14
"""Images of a split whose size in bytes is part of its fingerprint: a look at a million files would cost
minutes on a network disk.
"""


def image_hashes(images: LabelledImages, classes: Sequence[str]) -> NDArray[np.uint64]:
    """A hash of each image, uint64 [n], uniform over 0..2⁶⁴-1.

    It depends on `<class>/<stem of the file name>` only. Images without names, such as torchvision's
    CIFAR-10, are hashed by class and content, which reads each of them. ImageNet's names take half a second.
    """
    if isinstance(images, Subset):
        return image_hashes(images.images, classes)[images.indices]
    of_class = _fnv([f"{name}/".encode() for name in classes], np.full(len(classes), FNV_OFFSET))
    hashes = of_class[images.labels]
    if isinstance(images, StoredImages):
        names = images.names
        for start in range(0, len(images), BLOCK):
            block = slice(start, start + BLOCK)
            stems = [_stem(name) for name in name_strings(names[block]).to_pylist()]
            hashes[block] = _fnv(stems, hashes[block])
    else:
        hashes ^= np.array([_content(images[i][0]) for i in range(len(images))], dtype=np.uint64)
    return _mixed(hashes ^ SALT)


def split_fingerprint(images: LabelledImages, hashes: NDArray[np.uint64], ordered: bool) -> bytes:
    """A digest of the hashes and labels of a split's images, and of the sizes of `SIZED` of them.

    With `ordered` it depends on their order, too.
    """
    by_hash = np.argsort(hashes, kind="stable")
    digest = hashlib.sha256(len(hashes).to_bytes(8))
    order: Any = slice(None) if ordered else by_hash
    for column in (hashes[order], images.labels[order]):
        digest.update(np.ascontiguousarray(column).astype("<u8").tobytes())
    digest.update(repr(_sizes(images, by_hash[:SIZED])).encode())
    return digest.digest()


def names_digest(images: LabelledImages, classes: Sequence[str]) -> str:
    """A digest of the classes, names and labels of a split's images, and of their order."""
    hashes = image_hashes(images, classes).astype("<u8").tobytes()
    return hashlib.sha256(hashes + images.labels.astype("<u8").tobytes()).hexdigest()


def _stem(name: str) -> bytes:
    """Of a path, or of "archive.tar:member"."""
    file = name.replace(":", "/").rpartition("/")[2]
    return (file.rpartition(".")[0] or file).encode()


def _fnv(texts: list[bytes], hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """FNV-1a (Fowler, Noll and Vo) of each text, continued from `hashes`, a letter of all at a time."""
    letters = np.array(texts, dtype=np.bytes_).view(np.uint8).reshape(len(texts), -1)
    for letter in letters.T:
        hashes = np.where(letter == 0, hashes, (hashes ^ letter) * FNV_PRIME)  # 0 is padding
    return hashes


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64: names that differ in their last letter get unrelated hashes."""
    hashes = (hashes ^ hashes >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ hashes >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return hashes ^ hashes >> np.uint64(31)


def _content(image: Any) -> int:
    data = image.tobytes() if isinstance(image, Image) else image.data
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


def _sizes(images: Any, places: NDArray[np.int64]) -> list[int]:
    """Bytes of some images, where that takes no more than a look at their files; else nothing."""
    if isinstance(images, Subset):
        return _sizes(images.images, images.indices[places])
    if (known := getattr(images, "sizes", None)) is not None:
        return [int(size) for size in known[places]]
    paths = [images.path(i) for i in places] if isinstance(images, FileImages) else []
    # A file that is not there is reported where the image is read.
    return [os.path.getsize(path) if os.path.exists(path) else -1 for path in paths]
