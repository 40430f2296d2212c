"""Parquet files of the Hugging Face Hub in a local folder: the bytes of an image and its label per row.

pyarrow reads a row group of 100 images or more at once, about 100 µs an image. The first image of a
group costs that; then it is known where the others lie, and each is read by itself. Where the files
are compressed otherwise than the Hub does it, each image costs its group, unless it is packed.
"""

import logging
import os
import re
from functools import cache as cached
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
from deeper.data.layouts.pages import CODECS, find_values, read_value
from deeper.data.source import Splits

SPLITS = {"train": ("train",), "val": ("validation", "val", "valid"), "test": ("test",)}
PLACES = ("data", "", "default")
COLUMN = "image.bytes"
log = logging.getLogger(__name__)


def fits(root: Path) -> bool:
    return bool(_files(root))


def load_splits(root: Path, cache: Path) -> Splits:
    listed = index.cached("parquet", root, cache, _listed)
    files = _files(root)
    file, group, _ = listed.splits["train"]["groups"][0].tolist()
    if (codec := _chunk(files["train"][file], group).compression) not in CODECS:
        log.warning(
            "data.root=%s is compressed by %s: an image in random order costs the reading of its row "
            "group; `python src/prepare.py data.root=%s pack=true out=DIR` packs the images",
            *(root, codec, root),
        )
    parts = {split: ParquetImages(root, files[split], **c) for split, c in listed.splits.items()}
    return Splits.of(listed.classes, parts, FileImages(root, [], []))


class ParquetImages(StoredImages):
    """The rows of `files` in order. A row of `groups` is a row group: its file, number and first image.

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
        names: Names,
        labels: NDArray[np.int64],
    ) -> None:
        self.root, self.files, self.groups = root, files, groups
        self.names, self.labels = names, labels

    def path(self, index: int) -> str:
        return str(self._place(index)[0])

    def _read(self, index: int) -> bytes:
        file, group, row = self._place(index)
        if (places := _places(file, group)) is not None:
            return read_value(file, *places[row].tolist())
        data = _row_group(file, group)[row].as_py()
        if data is None:
            raise OSError("the row has no bytes")
        return bytes(data)

    def _place(self, index: int) -> tuple[Path, int, int]:
        """The file, the row group in it, and the row in that."""
        place = np.searchsorted(self.groups[:, 2], index, side="right") - 1
        file, group, first = self.groups[place].tolist()
        return self.files[file], group, index - first


@cached
def _places(path: Path, group: int) -> NDArray[np.int64] | None:
    """Where the images of a row group lie in the file, 4 kB; None if they can't be read one by one."""
    return find_values(path, _chunk(path, group), _row_group(path, group))


def _chunk(path: Path, group: int) -> pq.ColumnChunkMetaData:
    of_group = pq.read_metadata(path).row_group(group)
    columns = (of_group.column(number) for number in range(of_group.num_columns))
    return next(column for column in columns if column.path_in_schema == COLUMN)


@lru_cache(1)  # for reading in order
def _row_group(path: Path, group: int) -> pa.Array:
    """The image bytes of a row group."""
    with pq.ParquetFile(path, memory_map=True) as opened:
        # The library's threads do not survive a fork.
        column = opened.read_row_group(group, [COLUMN], use_threads=False)["image"]
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
    """The rows of a split."""

    groups: list[tuple[int, int, int]]
    """File, number and size of each row group."""
    labels: NDArray[np.int64]
    """As the files number the classes."""
    names: list[str | None]
    """The file names of the images, without folders."""


def _listed(root: Path) -> Index:
    files = _files(root)
    if "train" not in files:
        raise ValueError(
            f"{root} has parquet files of {', '.join(files)}; expected train-*.parquet and "
            f"validation-*.parquet (or test-*.parquet)"
        )
    splits = {split: _rows(paths) for split, paths in files.items()}
    if {"val", "test"} <= set(splits) and (splits["test"].labels < 0).all():
        del splits["test"]  # ImageNet's own test set, whose labels are not public
    names = _class_names(files, splits)
    classes = sorted(names)
    columns = {
        split: _columns(root, files[split], r, names, classes) for split, r in splits.items()
    }
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


def _rows(files: list[Path]) -> Rows:
    _require_all(files)
    groups, labels, names = [], [], []
    for number, path in enumerate(files):
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
        sizes = (about.row_group(group).num_rows for group in range(about.num_row_groups))
        groups += [(number, group, size) for group, size in enumerate(sizes)]
        labels.append(table["label"].fill_null(-1).to_numpy())
        paths = table["image"].combine_chunks().field("path").to_pylist()
        names += [path and os.path.basename(path) for path in paths]
    return Rows(groups, np.concatenate(labels).astype(np.int64), names)


def _class_names(files: dict[str, list[Path]], splits: dict[str, Rows]) -> list[str]:
    """The class of each number; `ValueError` where files, labels and names contradict each other."""
    count = 1 + max(int(rows.labels.max()) for rows in splits.values())
    names = hub_classes.names_by_number(files["train"][0], count)
    for split, rows in splits.items():
        where = f"{files[split][0].parent}: {split}"
        found = np.unique(rows.labels)
        if found[0] < 0:
            raise ValueError(f"{where} has rows without a label ({found[0]})")
        hub_classes.require_agreement(where, rows.names, rows.labels, names)
        if absent := set(range(len(names))) - set(found.tolist()):
            raise ValueError(f"{where} has no image of class {names[min(absent)]}")
    return names


def _columns(
    root: Path, files: list[Path], rows: Rows, names: list[str], classes: list[str]
) -> Columns:
    of_class = [names[label] for label in rows.labels]
    own = [
        name and hub_classes.original_name(name, of)
        for name, of in zip(rows.names, of_class, strict=True)
    ]
    if None in own or len(set(zip(of_class, own, strict=True))) < len(own):
        own = [str(number) for number in range(len(own))]
    relative = [os.path.relpath(path, root) for path in files]
    of_file = [relative[file] for file, _, size in rows.groups for _ in range(size)]
    parts = zip(of_file, of_class, own, strict=True)
    groups = np.array(rows.groups)
    groups[:, 2] = np.cumsum(groups[:, 2]) - groups[:, 2]
    return {
        "groups": groups,
        "names": np.array([os.fsencode(f"{file}:{of}/{name}") for file, of, name in parts]),
        "labels": np.array([classes.index(name) for name in names], dtype=np.int64)[rows.labels],
    }
