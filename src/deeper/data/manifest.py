"""The manifest of a root: what `prepare.py` found, an image a row, as an Arrow file in the cache.

The root may be read-only, so the manifest lies under <cache>/manifests/<hash of the root's path>/.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from deeper.data.source import Splits, path_key
from deeper.files import whole

FORMAT = 3
FILE, BAD = "manifest.arrow", "bad.txt"
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
        "status": pa.string(),  # ok, or why the image cannot be read
    }
)
OK = "ok"
LISTED = 20
"""Unreadable images that a message names."""


def folder(cache: Path, root: Path) -> Path:
    """Where the manifest of `root` lies: one folder, whichever path leads to the root."""
    return cache.expanduser() / "manifests" / path_key(root.expanduser().resolve())


def named_splits(splits: Splits) -> dict[str, Any]:
    """The splits by name, without `test` where it is `val` again."""
    found = {"train": splits.train, "val": splits.val}
    return found if splits.test is splits.val else found | {"test": splits.test}


class Manifest:
    """A memory-mapped table as in SCHEMA, in the order of the splits and of their images."""

    def __init__(self, table: pa.Table) -> None:
        about = json.loads((table.schema.metadata or {}).get(b"deeper", b"{}"))
        if about.get("format") != FORMAT:
            raise ValueError(f"not a manifest of format {FORMAT}")
        self.table = table
        self.classes: list[str] = about["classes"]
        self.digests: dict[str, str] = about["digests"]
        """`hashes.names_digest` of each split."""
        self.splits: dict[str, pa.Table] = {}
        start = 0
        for split, count in about["counts"].items():
            self.splits[split] = table.slice(start, count)
            start += count

    @classmethod
    def of(
        cls, tables: Mapping[str, pa.Table], classes: list[str], digests: Mapping[str, str]
    ) -> "Manifest":
        """From the rows of each split."""
        counts = {split: len(table) for split, table in tables.items()}
        about = {"format": FORMAT, "classes": classes, "counts": counts, "digests": digests}
        rows = pa.concat_tables([SCHEMA.empty_table(), *tables.values()])
        return cls(rows.replace_schema_metadata({"deeper": json.dumps(about)}))

    @classmethod
    def of_root(cls, cache: Path, root: Path) -> "Manifest | None":
        """None for a root that was never verified."""
        path = folder(cache, root) / FILE
        try:
            return cls(read_table(path)) if path.exists() else None
        except ValueError as error:  # pyarrow's, too
            raise ValueError(
                f"{path}: no manifest that this version reads ({error}); run prepare again"
            ) from error

    def bad(self) -> list[tuple[str, str, str]]:
        """(split, name, reason) of every image that cannot be read."""
        rows = self.table.filter(~readable(self.table))
        columns = (rows[name].to_pylist() for name in ("split", "name", "status"))
        return list(zip(*columns, strict=True))

    def unreadable(self, folder: Path) -> str:
        """How many images cannot be read, and the first `LISTED` of them; empty if all can.

        `folder` is that of the manifest, where bad.txt has all of them.
        """
        bad = self.bad()
        lines = [f"  {name}: {why}" for _, name, why in bad[:LISTED]]
        if len(bad) > LISTED:
            lines.append(f"  and {len(bad) - LISTED:,} more in {folder / BAD}")
        head = f"{len(bad):,} of {len(self.table):,} images cannot be read:"
        return "\n".join([head, *lines]) if bad else ""

    def require_classes(self) -> None:
        """Refuse a split in which no readable image is left of a class."""
        for split, rows in self.splits.items():
            labels = rows["label"].to_numpy()
            lost = np.setdiff1d(labels, labels[readable(rows)])
            if lost.size:
                raise ValueError(
                    f"{split} has no good image of class {self.classes[lost[0]]}; mend its images, "
                    f"or remove the class from every split"
                )


def readable(rows: pa.Table) -> NDArray[np.bool_]:
    """bool [n], false for images that cannot be read."""
    good: NDArray[np.bool_] = pc.equal(rows["status"], OK).to_numpy()
    return good


def read_table(path: Path) -> pa.Table:
    """Memory-mapped."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def write_table(path: Path, table: pa.Table) -> None:
    """An Arrow IPC file of one record batch, complete or absent."""
    with (
        whole(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        empty = pa.RecordBatch.from_pylist([], table.schema)
        for batch in table.combine_chunks().to_batches() or [empty]:
            writer.write_batch(batch)


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
