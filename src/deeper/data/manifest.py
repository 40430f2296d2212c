"""The manifest of a root: what `prepare` found, an image a row, as an Arrow file in the cache.

The root may be read-only, so it lies under <cache>/manifests/<hash of the root's path>/.
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
        "changed": pa.int64(),  # ns, when the file that it lies in was last touched, by its ctime
        "sha256": pa.binary(32),
        "width": pa.int32(),
        "height": pa.int32(),
        "mode": pa.string(),  # Pillow's word for the file's colours: RGB, L, CMYK, P …
        "status": pa.string(),  # ok, or why it cannot be read
    }
)
REPEATING = ("split", "class", "mode", "status")
"""Columns of few distinct words, written as dictionaries."""

OK = "ok"
BLOCK = 2**16


def folder(cache: Path, root: Path) -> Path:
    """Where the manifest of `root` lies, however the path to it is spelt."""
    return cache.expanduser() / "manifests" / path_key(root.expanduser().resolve())


def parts(splits: Splits) -> dict[str, Any]:
    """The sets of images that a source has, each once: `test` where it is one of its own."""
    found = {"train": splits.train, "val": splits.val}
    return found if splits.test is splits.val else found | {"test": splits.test}


class Manifest:
    """Memory-mapped; columns become numpy arrays without a Python object a row."""

    def __init__(self, table: pa.Table) -> None:
        about = json.loads((table.schema.metadata or {}).get(b"deeper", b"{}"))
        if about.get("format") != FORMAT:
            raise ValueError(f"not a manifest of format {FORMAT}")
        self.table = table
        self.classes: list[str] = about["classes"]
        self.counts: dict[str, int] = about["counts"]
        """Images of each split; the rows stand in this order."""
        self.archives: dict[str, dict[str, Any]] = about["archives"]
        """Size, time of change and MD5 of the official archives that lay in the root."""

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
        with (
            whole(path) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, self.table.schema) as writer,
        ):
            writer.write_table(self.table, max_chunksize=max(len(self.table), 1))  # one batch

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
        """Of numbers: label, bytes, width, height."""
        values: NDArray[Any] = self.rows(split)[name].to_numpy()
        return values

    @cached_property
    def _good(self) -> NDArray[np.bool_]:
        if not len(self.table):
            return np.zeros(0, dtype=bool)
        status = _array(self.table["status"])
        words = status.dictionary.to_pylist()
        code = words.index(OK) if OK in words else -1
        good: NDArray[np.bool_] = status.indices.to_numpy() == code
        return good

    def good(self, split: str) -> NDArray[np.bool_]:
        """[n], false for what cannot be read."""
        return self._good[self._span(split)]

    def bad(self) -> list[tuple[str, str, str]]:
        """(split, name, why) of every image that cannot be read."""
        rows = self.table.take(np.flatnonzero(~self._good))
        columns = (rows[name].to_pylist() for name in ("split", "name", "status"))
        return list(zip(*columns, strict=True))

    def require_classes(self) -> None:
        """Refuse a split in which nothing is left of a class."""
        for split in self.counts:
            labels = self.column("label", split)
            known = labels[self.good(split)]
            before, after = (
                np.bincount(part, minlength=len(self.classes)) for part in (labels, known)
            )
            lost = np.flatnonzero((before > 0) & (after == 0))
            if lost.size:
                raise ValueError(
                    f"{split} has no good image of class {self.classes[lost[0]]}; mend its images, "
                    f"or remove the class from every split"
                )

    def difference(self, splits: Splits) -> str | None:
        """What a source lists otherwise than it did when it was verified: classes, names, labels,
        sizes where it knows them without a look at each file. None where the manifest still holds.
        """
        if self.classes != splits.classes:
            others = sorted(set(self.classes) ^ set(splits.classes))
            differ = ", ".join(others[:5]) or "their order"
            return f"it has {len(splits.classes)} classes and had {len(self.classes)}: {differ}"
        now = parts(splits)
        if list(now) != list(self.counts):
            return f"it has the splits {', '.join(now)} and had {', '.join(self.counts)}"
        for split, part in now.items():
            if found := self._difference(split, part):
                return found
        return None

    def _difference(self, split: str, part: Any) -> str | None:
        then, now = _array(self.rows(split)["name"]), part.names
        place = _first_difference(then, now)
        if len(part) != len(then):
            more = now if len(part) > len(then) else then
            what = _strings(more[place : place + 1])[0]
            return f"{split} has {len(part):,} images and had {len(then):,}: look at {what}"
        if place < len(then):
            return f"{split} has {_strings(now[place : place + 1])[0]} in place of {then[place]}"
        labels = self.column("label", split)
        if (wrong := np.flatnonzero(labels != part.labels)).size:
            i = int(wrong[0])
            return (
                f"{then[i]} is of class {self.classes[part.labels[i]]} and was of "
                f"{self.classes[labels[i]]}"
            )
        sizes = getattr(part, "sizes", None)
        if sizes is not None:
            wrong = np.flatnonzero(self.column("bytes", split) != sizes)
            if wrong.size:
                return f"{then[int(wrong[0])]} has another size"
        return None


def spelt(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _strings(names: Any) -> pa.Array:
    """Names as a manifest has them; bytes that are no UTF-8 are spelt \\udc80…\\udcff."""
    try:
        found: pa.Array = pa.array(names, pa.binary()).cast(pa.string())
        return found
    except pa.ArrowInvalid:
        return pa.array([spelt(os.fsdecode(name)) for name in names], pa.string())


def _array(column: pa.ChunkedArray) -> pa.Array:
    """`combine_chunks` would copy even a single one."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _first_difference(then: pa.Array, now: Any) -> int:
    """The first place where two lists of names differ, or where the shorter one ends.

    In blocks: a copy of a million names would stay in the process that compares them.
    """
    end = min(len(then), len(now))
    for start in range(0, end, BLOCK):
        stop = min(start + BLOCK, end)
        one, other = then[start:stop], _strings(now[start:stop])
        if not one.equals(other):
            pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
            return start + next(i for i, (a, b) in enumerate(pairs) if a != b)
    return end
