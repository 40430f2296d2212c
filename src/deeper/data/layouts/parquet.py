"""Parquet files of the Hugging Face Hub in a local folder: the bytes of an image and its label per row.

A row group of 100 images or more is compressed as one: an image drawn at random costs the reading of
its group. `src/prepare.py` packs such files into a layout without that cost.
"""

import os
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from deeper.data.images.stored import Columns, FileImages, StoredImages
from deeper.data.layouts import hub_classes, index
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

SPLITS = {"train": ("train",), "val": ("validation", "val", "valid"), "test": ("test",)}
PLACES = ("data", "", "default")
GROUPS = 2
"""Row groups that a process holds, for reading in order."""


def fits(root: Path) -> bool:
    return bool(_files(root))


def load_splits(root: Path, cache: Path) -> Splits:
    listed = index.cached("parquet", root, cache, lambda: _listed(root))
    files = _files(root)
    parts = {split: ParquetImages(root, files[split], **c) for split, c in listed.splits.items()}
    return Splits.of(listed.classes, parts, FileImages(root, [], []))


class ParquetImages(StoredImages):
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
        self._relative = [os.path.relpath(path, root) for path in files]

    def name(self, index: int) -> str:
        return f"{self._relative[self.file[index]]}:{self.group[index]}/{self.row[index]}"

    def path(self, index: int) -> str:
        return os.path.join(self.root, self._relative[self.file[index]])

    def read(self, index: int) -> bytes:
        try:
            images = _row_group(Path(self.path(index)), int(self.group[index]), os.getpid())
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"cannot read the image {self.where(index)}: {error}") from error
        data = images[int(self.row[index])].as_py()
        if data is None:
            raise ValueError(f"cannot read the image {self.where(index)}: the row has no bytes")
        return bytes(data)


@lru_cache(GROUPS)
def _row_group(path: Path, group: int, process: int) -> pa.Array:
    """The image bytes of a row group. `process` makes a forked process read its own."""
    with pq.ParquetFile(path, memory_map=True) as opened:
        # The library's threads do not survive a fork.
        column = opened.read_row_group(group, ["image.bytes"], use_threads=False)["image"]
    return column.combine_chunks().field("bytes")


def _files(root: Path) -> dict[str, list[Path]]:
    """Split → its files, in order, from the first of `PLACES` that has any."""
    for place in PLACES:
        splits = {}
        for split, words in SPLITS.items():
            patterns = [
                pattern
                for word in words
                for pattern in (f"{word}-*.parquet", f"{word}.parquet", f"{word}/*.parquet")
            ]
            if paths := [p for pattern in patterns for p in sorted((root / place).glob(pattern))]:
                splits[split] = paths
        if splits:
            return splits
    return {}


def _listed(root: Path) -> Index:
    files = _files(root)
    if "train" not in files:
        raise ValueError(
            f"{root} has parquet files of {', '.join(files)}; expected train-*.parquet and "
            f"validation-*.parquet (or test-*.parquet)"
        )
    tables = {split: _read_split(paths) for split, paths in files.items()}
    if {"val", "test"} <= set(tables) and (tables["test"]["labels"] < 0).all():
        del tables["test"]  # ImageNet's own test set, whose labels are not public
    names = _class_names(files, tables)
    classes = sorted(names)
    places = np.array([classes.index(name) for name in names], dtype=np.int64)
    for columns in tables.values():
        columns["labels"] = places[columns["labels"]]
    paths = [path for split in files.values() for path in split]
    return Index(classes, tables, [root, *{path.parent for path in paths}, *paths])


def _class_names(files: dict[str, list[Path]], tables: dict[str, Columns]) -> list[str]:
    """The class of each number; `ValueError` where files, labels and paths contradict each other."""
    count = 1 + max(int(columns["labels"].max()) for columns in tables.values())
    names = hub_classes.names_by_number(files["train"][0], count)
    for split, columns in tables.items():
        folder = files[split][0].parent
        if (lowest := columns["labels"].min()) < 0:
            raise ValueError(f"{folder}: {split} has rows without a label ({lowest})")
        for number, path in enumerate(files[split]):
            if hub_classes.names_by_number(path, count) != names:
                raise ValueError(f"{path} has other class names than {files['train'][0]}")
            labels = columns["labels"][columns["file"] == number]
            hub_classes.require_agreement(path, labels, names)
        absent = np.flatnonzero(np.bincount(columns["labels"], minlength=len(names)) == 0)
        if absent.size:
            raise ValueError(f"{folder}: {split} has no image of class {names[absent[0]]}")
    return names


def _read_split(files: list[Path]) -> Columns:
    """The position and label of every row, labels as the files number them."""
    _require_all(files)
    parts = [_read_file(number, path) for number, path in enumerate(files)]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _require_all(files: list[Path]) -> None:
    """Names that end in "-of-294" say how many files there are."""
    counted = [re.search(r"-(\d+)-of-(\d+)\.parquet$", file.name) for file in files]
    numbers = {int(match[1]): int(match[2]) for match in counted if match}
    if not numbers:
        return
    total = max(numbers.values())
    missing = sorted(set(range(total)) - set(numbers))
    if missing or len(files) != total:
        what = f"part {missing[0]} is missing" if missing else f"{len(files)} are there"
        raise ValueError(f"{files[0].parent}: {files[0].name} is one of {total} files, and {what}")


def _read_file(number: int, path: Path) -> Columns:
    try:
        with pq.ParquetFile(path, memory_map=True) as opened:
            _require_columns(path, opened.schema_arrow)
            groups = [
                opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)
            ]
            table = opened.read(["label"], use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path} is damaged, or no parquet file: {error}") from error
    if table["label"].null_count:
        raise ValueError(f"{path} has {table['label'].null_count} rows without a label")
    return {
        "file": np.full(table.num_rows, number, dtype=np.int32),
        "group": np.repeat(np.arange(len(groups), dtype=np.int32), groups),
        "row": np.concatenate([np.arange(rows, dtype=np.int32) for rows in groups or [0]]),
        "labels": table["label"].to_numpy().astype(np.int64),
    }


def _require_columns(path: Path, schema: pa.Schema) -> None:
    image = schema.field("image").type if "image" in schema.names else pa.null()
    fields = {field.name for field in image} if pa.types.is_struct(image) else set()
    if not {"bytes", "path"} <= fields or "label" not in schema.names:
        raise ValueError(
            f"{path} has the columns {', '.join(map(str, schema.names))}; expected image (a struct of "
            f"bytes and path) and label, as the Hub stores images"
        )
    if not pa.types.is_integer(kind := schema.field("label").type):
        raise ValueError(f"{path} has labels of the type {kind}; expected whole numbers")
