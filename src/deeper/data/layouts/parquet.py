"""Parquet files of the Hugging Face Hub in a local folder: the bytes of an image and its label per row.

A row group of 100 images or more is compressed as one: an image drawn at random costs the reading of
its group. `src/prepare.py` packs such files into a layout without that cost.
"""

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from deeper.data.images.stored import Columns, FileImages, Names, StoredImages
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
    listed = index.cached("parquet", root, cache, _listed)
    files = _files(root)
    parts = {split: ParquetImages(root, files[split], **c) for split, c in listed.splits.items()}
    return Splits.of(listed.classes, parts, FileImages(root, [], []))


class ParquetImages(StoredImages):
    """The rows of `files` in order. Row group `groups[i]` (file, number in it) begins at row `starts[i]`.

    A name is "file.parquet:class/name", with the file name that the row has. The Hub's imagenet-1k adds
    the class to it (n01440764_10026_n01440764.JPEG), which is left out here: the name is ILSVRC's own.
    Where a split has rows without a name, or with one twice in a class, its rows are called by their
    number in the split instead.
    """

    def __init__(
        self,
        root: Path,
        files: list[Path],
        groups: NDArray[np.int64],
        starts: NDArray[np.int64],
        names: Names,
        labels: NDArray[np.int64],
    ) -> None:
        self.root, self.files = root, files
        self.groups, self.starts, self.names, self.labels = groups, starts, names, labels

    def path(self, index: int) -> str:
        file, _ = self.groups[self._place(index)].tolist()
        return str(self.files[file])

    def _read(self, index: int) -> bytes:
        place = self._place(index)
        file, group = self.groups[place].tolist()
        images = _row_group(self.files[file], group, os.getpid())
        data = images[index - int(self.starts[place])].as_py()
        if data is None:
            raise OSError("the row has no bytes")
        return bytes(data)

    def _place(self, index: int) -> int:
        """Of the image's row group in `groups`."""
        return int(np.searchsorted(self.starts, index, side="right")) - 1


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


class Rows(NamedTuple):
    """The rows of one file."""

    path: Path
    groups: list[int]
    """Rows of each row group."""
    labels: NDArray[np.int64]
    """As the file numbers the classes."""
    names: list[str | None]
    """The file names of the images, without folders."""


def _listed(root: Path) -> Index:
    files = _files(root)
    if "train" not in files:
        raise ValueError(
            f"{root} has parquet files of {', '.join(files)}; expected train-*.parquet and "
            f"validation-*.parquet (or test-*.parquet)"
        )
    for paths in files.values():
        _require_all(paths)
    splits = {split: [_rows(path) for path in paths] for split, paths in files.items()}
    if {"val", "test"} <= set(splits) and all((rows.labels < 0).all() for rows in splits["test"]):
        del splits["test"]  # ImageNet's own test set, whose labels are not public
    names = _class_names(splits)
    classes = sorted(names)
    columns = {split: _columns(root, rows, names, classes) for split, rows in splits.items()}
    watched = [path for paths in files.values() for path in paths]
    return Index(classes, columns, [root, *{path.parent for path in watched}, *watched])


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


def _rows(path: Path) -> Rows:
    try:
        with pq.ParquetFile(path, memory_map=True) as opened:
            about, schema = opened.metadata, opened.schema_arrow
            table = opened.read(["label", "image.path"], use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path} is damaged, or no parquet file: {error}") from error
    if table.num_columns < 2 or not pa.types.is_integer(table.schema.field("label").type):
        columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise ValueError(
            f"{path} has the columns {columns}; expected image (a struct of bytes and path) and "
            f"label (a whole number), as the Hub stores images"
        )
    names = table["image"].combine_chunks().field("path").to_pylist()
    return Rows(
        path,
        [about.row_group(group).num_rows for group in range(about.num_row_groups)],
        table["label"].fill_null(-1).to_numpy().astype(np.int64),
        [name and os.path.basename(name) for name in names],
    )


def _class_names(splits: dict[str, list[Rows]]) -> list[str]:
    """The class of each number; `ValueError` where files, labels and names contradict each other."""
    first = splits["train"][0].path
    count = 1 + max(int(rows.labels.max()) for files in splits.values() for rows in files)
    names = hub_classes.names_by_number(first, count)
    for split, files in splits.items():
        found = np.unique(np.concatenate([rows.labels for rows in files]))
        folder = files[0].path.parent
        if found[0] < 0:
            raise ValueError(f"{folder}: {split} has rows without a label ({found[0]})")
        for rows in files:
            if hub_classes.names_by_number(rows.path, count) != names:
                raise ValueError(f"{rows.path} has other class names than {first}")
            hub_classes.require_agreement(rows.path, rows.names, rows.labels, names)
        if absent := set(range(len(names))) - set(found.tolist()):
            raise ValueError(f"{folder}: {split} has no image of class {names[min(absent)]}")
    return names


def _columns(root: Path, files: list[Rows], names: list[str], classes: list[str]) -> Columns:
    groups = [(file, group) for file, r in enumerate(files) for group in range(len(r.groups))]
    labels = np.concatenate([rows.labels for rows in files])
    of_class = [names[label] for label in labels]
    own = [
        name and hub_classes.original_name(name, of)
        for name, of in zip((name for rows in files for name in rows.names), of_class, strict=True)
    ]
    if None in own or len(set(zip(of_class, own, strict=True))) < len(own):
        own = [str(number) for number in range(len(own))]
    relative = [os.path.relpath(rows.path, root) for rows in files for _ in rows.names]
    parts = zip(relative, of_class, own, strict=True)
    return {
        "groups": np.array(groups),
        "starts": np.cumsum([0, *(n for rows in files for n in rows.groups)])[:-1],
        "names": np.array([os.fsencode(f"{file}:{of}/{name}") for file, of, name in parts]),
        "labels": np.array([classes.index(name) for name in names], dtype=np.int64)[labels],
    }
