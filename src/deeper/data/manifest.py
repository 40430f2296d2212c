"""The manifest of a root: what `prepare.py` found, an image a row, as an Arrow file in the cache.

The root may be read-only, so the manifest lies under <cache>/manifests/<hash of the root's path>/.
"""

import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from deeper.data.source import Splits, path_key
from deeper.files import whole

FORMAT = 2
FILE = "manifest.arrow"
SCHEMA = pa.schema(
    {
        "split": pa.string(),
        "name": pa.string(),
        "label": pa.int64(),
        "class": pa.string(),
        "bytes": pa.int64(),
        "changed": pa.int64(),  # ctime in ns of the file that the image lies in
        "sha256": pa.binary(32),
        "width": pa.int32(),
        "height": pa.int32(),
        "mode": pa.string(),  # Pillow's name of the file's colours: RGB, L, CMYK, P …
        "status": pa.string(),  # ok, or why the image cannot be read
    }
)
REPEATING = ("split", "class", "mode", "status")
"""Columns of few distinct values, written as dictionaries."""

OK = "ok"
BLOCK = 2**16
"""Names that are compared at a time: a copy of a million would stay in the process's memory."""


def folder(cache: Path, root: Path) -> Path:
    """Where the manifest of `root` lies: one folder, whichever path leads to the root."""
    return cache.expanduser() / "manifests" / path_key(root.expanduser().resolve())


def named_splits(splits: Splits) -> dict[str, Any]:
    """The splits by name, without `test` where it is `val` again."""
    found = {"train": splits.train, "val": splits.val}
    return found if splits.test is splits.val else found | {"test": splits.test}


class Manifest:
    """A memory-mapped table; its columns become numpy arrays without a Python object a row."""

    def __init__(self, table: pa.Table) -> None:
        about = json.loads((table.schema.metadata or {}).get(b"deeper", b"{}"))
        if about.get("format") != FORMAT:
            raise ValueError(f"not a manifest of format {FORMAT}")
        self.table = table
        self.classes: list[str] = about["classes"]
        self.counts: dict[str, int] = about["counts"]
        """Images of each split; the rows stand in this order."""
        self.archives: dict[str, dict[str, Any]] = about["archives"]
        """Size, ctime and MD5 of the official archives in the root."""

    @classmethod
    def of(
        cls,
        rows: pa.Table,
        classes: list[str],
        counts: Mapping[str, int],
        archives: Mapping[str, Mapping[str, Any]],
    ) -> "Manifest":
        """From rows as in SCHEMA, in the order of the splits and of their images."""
        rows = rows.combine_chunks()
        for name in REPEATING:
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(place, name, rows[name].dictionary_encode().combine_chunks())
        about = {"format": FORMAT, "classes": classes, "counts": counts, "archives": archives}
        return cls(rows.replace_schema_metadata({"deeper": json.dumps(about)}))

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        try:
            return cls(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
        except (pa.ArrowInvalid, ValueError) as error:
            raise ValueError(
                f"{path}: no manifest that this version reads ({error}); run prepare again"
            ) from error

    @classmethod
    def of_root(cls, cache: Path, root: Path) -> "Manifest | None":
        """None for a root that was never verified."""
        path = folder(cache, root) / FILE
        return cls.read(path) if path.exists() else None

    def write(self, path: Path) -> None:
        write_table(path, self.table)

    def rows(self, split: str) -> pa.Table:
        span = self._span(split)
        return self.table.slice(span.start, span.stop - span.start)

    def _span(self, split: str) -> slice:
        before = 0
        for name, count in self.counts.items():
            if name == split:
                return slice(before, before + count)
            before += count
        return slice(0, 0)

    def column(self, name: str, split: str) -> NDArray[Any]:
        """A column of numbers: label, bytes, width or height."""
        values: NDArray[Any] = self.rows(split)[name].to_numpy()
        return values

    @cached_property
    def _good(self) -> NDArray[np.bool_]:
        if not len(self.table):
            return np.zeros(0, dtype=bool)
        status = self.table["status"].combine_chunks()
        values = status.dictionary.to_pylist()
        code = values.index(OK) if OK in values else -1
        good: NDArray[np.bool_] = status.indices.to_numpy() == code
        return good

    def good(self, split: str) -> NDArray[np.bool_]:
        """bool [n], false for images that cannot be read."""
        return self._good[self._span(split)]

    def bad(self) -> list[tuple[str, str, str]]:
        """(split, name, reason) of every image that cannot be read."""
        rows = self.table.take(np.flatnonzero(~self._good))
        columns = (rows[name].to_pylist() for name in ("split", "name", "status"))
        return list(zip(*columns, strict=True))

    def require_classes(self) -> None:
        """Refuse a split in which no readable image is left of a class."""
        for split in self.counts:
            labels, good = self.column("label", split), self.good(split)
            before, after = (
                np.bincount(some, minlength=len(self.classes)) for some in (labels, labels[good])
            )
            lost = np.flatnonzero((before > 0) & (after == 0))
            if lost.size:
                raise ValueError(
                    f"{split} has no good image of class {self.classes[lost[0]]}; mend its images, "
                    f"or remove the class from every split"
                )

    def difference(self, splits: Splits) -> str | None:
        """How the classes, names, labels or sizes of a source differ from those that were verified.

        Sizes count where the source knows them without a look at each file. None: the manifest holds.
        """
        if self.classes != splits.classes:
            others = sorted(set(self.classes) ^ set(splits.classes))
            differ = ", ".join(others[:5]) or "their order"
            return f"it has {len(splits.classes)} classes and had {len(self.classes)}: {differ}"
        now = named_splits(splits)
        if list(now) != list(self.counts):
            return f"it has the splits {', '.join(now)} and had {', '.join(self.counts)}"
        for split, images in now.items():
            if len(images) != self.counts[split]:
                return f"{split} has {len(images):,} images and had {self.counts[split]:,}"
            if not self._same(split, images):
                return f"names, classes or sizes of the images of {split} are other ones"
        return None

    def _same(self, split: str, images: Any) -> bool:
        rows, sizes = self.rows(split), getattr(images, "sizes", None)
        return (
            np.array_equal(self.column("label", split), images.labels)
            and (sizes is None or np.array_equal(self.column("bytes", split), sizes))
            and all(
                rows["name"].slice(start, BLOCK).combine_chunks() == block
                for start in range(0, len(rows), BLOCK)
                for block in [name_strings(images.names[start : start + BLOCK])]
            )
        )


def write_table(path: Path, table: pa.Table) -> None:
    """An Arrow IPC file of one record batch, complete or absent."""
    with (
        whole(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=max(len(table), 1))


def name_string(name: str) -> str:
    """A file name as UTF-8 can hold it: other bytes are written \\udc80…\\udcff."""
    return name.encode("utf-8", "backslashreplace").decode()


def name_strings(names: Any) -> pa.Array:
    """An Arrow array of names, given as bytes or as an Arrow array."""
    try:
        found: pa.Array = pa.array(names, pa.binary()).cast(pa.string())
        return found
    except pa.ArrowInvalid:
        return pa.array([name_string(os.fsdecode(name)) for name in names], pa.string())
