"""Parquet files of the Hugging Face Hub in a local folder: an image's bytes and its label a row.

Row groups of 100 images and more are compressed as one: an image drawn at random costs the reading of
its group. `src/prepare.py` packs them into a form without that cost.
"""

import os
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from deeper.data.images.stored import Columns, Stored
from deeper.data.layouts import index
from deeper.data.layouts.hub_labels import HubLabels
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

SPLITS = {"train": ("train",), "val": ("validation", "val", "valid"), "test": ("test",)}
PLACES = ("data", "", "default")
GROUPS = 2
"""Row groups that a process keeps, for reading in order."""


def fits(root: Path) -> bool:
    return bool(_shards(root))


def load(root: Path, cache: Path | None) -> Splits:
    listed = index.kept("parquet", root, cache, lambda: _listed(root))
    shards = _shards(root)
    parts = {split: Rows(root, shards[split], **c) for split, c in listed.splits.items()}
    official = [split for split in ("val", "test") if split in parts]
    return Splits(listed.classes, parts["train"], parts[official[0]], parts[official[-1]])


class Rows(Stored):
    """Row `row` of row group `group` of one of `files` each."""

    def __init__(
        self,
        root: Path,
        files: list[Path],
        file: NDArray[np.int32],
        group: NDArray[np.int32],
        row: NDArray[np.int32],
        labels: NDArray[np.int64],
    ) -> None:
        self.root, self.files = root, files
        self.file, self.group, self.row, self.labels = file, group, row, labels
        self._spelt = [os.path.relpath(path, root) for path in files]
        self._kept: tuple[int, OrderedDict[tuple[int, int], pa.Array]] = 0, OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_kept": (0, OrderedDict())}

    def name(self, index: int) -> str:
        return f"{self._spelt[self.file[index]]}:{self.group[index]}/{self.row[index]}"

    def where(self, index: int) -> str:
        return os.path.join(self.root, self.name(index))

    def path(self, index: int) -> str:
        file: Path = self.files[self.file[index]]
        return os.fspath(file)

    def read(self, index: int) -> bytes:
        try:
            group = self._images(int(self.file[index]), int(self.group[index]))
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"cannot read the image {self.where(index)}: {error}") from error
        data = group[int(self.row[index])].as_py()
        if data is None:
            raise ValueError(f"cannot read the image {self.where(index)}: the row has no bytes")
        return bytes(data)

    def _images(self, file: int, group: int) -> pa.Array:
        """The bytes of a row group. What a fork inherited is read anew."""
        if self._kept[0] != os.getpid():
            self._kept = os.getpid(), OrderedDict()
        kept = self._kept[1]
        if (file, group) not in kept:
            with pq.ParquetFile(self.files[file], memory_map=True) as opened:
                # Threads of a library don't survive a fork.
                column = opened.read_row_group(group, ["image.bytes"], use_threads=False)["image"]
            whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
            kept[file, group] = whole.field("bytes")
            if len(kept) > GROUPS:
                kept.popitem(last=False)
        kept.move_to_end((file, group))
        return kept[file, group]


def _shards(root: Path) -> dict[str, list[Path]]:
    """Split → its files, in order, from the first place that has any."""
    for place in PLACES:
        splits = {}
        for split, words in SPLITS.items():
            named = [
                path
                for word in words
                for pattern in (f"{word}-*.parquet", f"{word}.parquet", f"{word}/*.parquet")
                for path in sorted((root / place).glob(pattern))
            ]
            if named:
                splits[split] = named
        if splits:
            return splits
    return {}


def _listed(root: Path) -> Index:
    shards = _shards(root)
    if "train" not in shards or len(shards) < 2:
        raise ValueError(
            f"{root} has parquet files of {', '.join(shards)}; expected train-*.parquet and "
            f"validation-*.parquet (or test-*.parquet)"
        )
    labels, splits = HubLabels(root), {}
    for split, files in shards.items():
        _require_all(files)
        columns = _rows(files, labels if split != "test" else None)
        if split == "test" and "val" in shards and (columns["labels"] < 0).all():
            continue  # ImageNet's own: its labels are nobody's to know
        splits[split] = columns
    for split, columns in splits.items():
        columns["labels"] = labels.sorted(split, columns["labels"])
    files = [file for paths in shards.values() for file in paths]
    watched = [root, *{file.parent for file in files}, *files]
    return Index(labels.classes, splits, watched)


def _require_all(files: list[Path]) -> None:
    """Names that say "of 294" say what is missing."""
    counted = [re.search(r"-(\d+)-of-(\d+)\.parquet$", file.name) for file in files]
    there = {(int(m[1]), int(m[2])) for m in counted if m}
    if not there:
        return
    total = max(count for _, count in there)
    missing = sorted({(number, total) for number in range(total)} - there)
    if missing or len(files) != total:
        what = f"part {missing[0][0]} is missing" if missing else f"{len(files)} are there"
        raise ValueError(f"{files[0].parent}: {files[0].name} is one of {total} files, and {what}")


def _rows(files: list[Path], labels: HubLabels | None) -> Columns:
    """Places and labels of all rows. `labels` hears what the files say of their classes."""
    parts: list[Columns] = []
    for place, path in enumerate(files):
        try:
            with pq.ParquetFile(path, memory_map=True) as opened:
                _require_columns(path, opened.schema_arrow)
                groups = [
                    opened.metadata.row_group(group).num_rows
                    for group in range(opened.num_row_groups)
                ]
                table = opened.read(["image.path", "label"], use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{path} is damaged, or no parquet file: {error}") from error
        if table["label"].null_count:
            raise ValueError(f"{path} has {table['label'].null_count} rows without a label")
        found = table["label"].to_numpy().astype(np.int64)
        if labels is not None:
            labels.hear(path, table.schema, table["image"].combine_chunks(), found)
        parts.append(
            {
                "file": np.full(len(found), place, dtype=np.int32),
                "group": np.repeat(np.arange(len(groups), dtype=np.int32), groups),
                "row": np.concatenate([np.arange(n, dtype=np.int32) for n in groups or [0]]),
                "labels": found,
            }
        )
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _require_columns(path: Path, schema: pa.Schema) -> None:
    image = schema.field("image").type if "image" in schema.names else pa.null()
    inside = {field.name for field in image} if pa.types.is_struct(image) else set()
    if not {"bytes", "path"} <= inside or "label" not in schema.names:
        raise ValueError(
            f"{path} has the columns {', '.join(map(str, schema.names))}; expected image (a struct of "
            f"bytes and path) and label, as the Hub stores images"
        )
    if not pa.types.is_integer(kind := schema.field("label").type):
        raise ValueError(f"{path} has labels of the type {kind}; expected whole numbers")
