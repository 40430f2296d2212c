"""The packed layout: `packed.json` and memory-mapped Arrow files (shards), written by src/prepare.py.

A shard is an Arrow IPC file of one record batch with the columns image (large_binary), label (int64)
and name (string), which any Arrow library opens.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from deeper.data.images.stored import FileImages, StoredImages
from deeper.data.manifest import read_table
from deeper.data.source import Splits

FORMAT = 1
FILE = "packed.json"
COLUMNS = ["image", "label", "name"]


def fits(root: Path) -> bool:
    return (root / FILE).is_file()


def load_splits(root: Path, cache: Path | None = None) -> Splits:
    """Checks the sizes of the shards, not their digests, which prepare and staging check.

    `cache` is unused: packed.json is the list of images.
    """
    about = read_about(root)
    empty = FileImages(root, [], [])  # a test set alone has no training images
    parts = {
        name: _images(root, split) if split["shards"] else empty
        for name, split in about["splits"].items()
    }
    return Splits.of(about["classes"], parts, empty)


def read_about(root: Path) -> dict[str, Any]:
    """The content of packed.json. Raises `ValueError` if it is not of this format."""
    path = root / FILE
    try:
        about: dict[str, Any] = json.loads(path.read_text())
        if (found := about["format"]) == FORMAT:
            same = about["fingerprint"] == fingerprint(about["classes"], about["splits"])
            names = [str(shard["file"]) for shard in shards(about)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a packed form ({error}); pack the images anew") from error
    if found != FORMAT:
        raise ValueError(f"{path}: of format {found}, this version reads {FORMAT}; pack anew")
    if not same:
        raise ValueError(f"{path}: its classes or shards were changed by hand; pack anew")
    for name in names:  # staging writes a file of this name
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError(f"{path}: the shard {name!r} points out of the folder; refused")
    return about


def shards(about: dict[str, Any]) -> list[dict[str, Any]]:
    """The shards of all splits, each with its file, images, bytes and sha256."""
    return [shard for split in about["splits"].values() for shard in split["shards"]]


def fingerprint(classes: list[str], splits: dict[str, Any]) -> str:
    """Hash of the classes and of the digests of all shards."""
    digests = [(split, [s["sha256"] for s in of["shards"]]) for split, of in splits.items()]
    return hashlib.sha256(json.dumps([classes, digests]).encode()).hexdigest()[:16]


class PackedImages(StoredImages):
    """The images of one split, in memory-mapped shards."""

    def __init__(self, root: Path, files: Sequence[str]) -> None:
        self.root, self.files = root, list(files)
        shards = [_mapped(root / file) for file in files]
        self._ends = np.cumsum([len(shard) for shard in shards])
        self._table = pa.concat_tables(shards)
        self.labels = np.concatenate([shard["label"] for shard in shards])

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process maps the shards itself."""
        return type(self), (self.root, self.files)

    def _read(self, index: int) -> bytes:
        return bytes(self._table["image"][index].as_py())

    def name(self, index: int) -> str:
        """The name that the image had in the root that was packed."""
        return str(self._table["name"][index])

    def where(self, index: int) -> str:
        return f"{self.path(index)}:{self.name(index)}"

    def path(self, index: int) -> str:
        return os.path.join(self.root, self.files[np.searchsorted(self._ends, index, "right")])

    @property
    def names(self) -> pa.Array:  # type: ignore[override]
        return self._table["name"].combine_chunks()

    @property
    def sizes(self) -> NDArray[np.int64]:
        """[n], bytes of each image."""
        sizes: NDArray[np.int64] = pc.binary_length(self._table["image"]).to_numpy()
        return sizes


def _mapped(path: Path) -> pa.Table:
    """A shard, in memory as far as it is read."""
    try:
        return read_table(path).select(COLUMNS)
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise ValueError(f"{path}: not a shard of a packed form ({error}); pack anew") from error


def _images(root: Path, split: dict[str, Any]) -> PackedImages:
    for shard in split["shards"]:
        path = root / shard["file"]
        if not path.exists():
            raise ValueError(f"{path}: is missing; copy it again, or pack anew")
        if (size := path.stat().st_size) != shard["bytes"]:
            raise ValueError(
                f"{path}: has {size:,} bytes, expected {shard['bytes']:,}; copy it again, or pack anew"
            )
    return PackedImages(root, [shard["file"] for shard in split["shards"]])
