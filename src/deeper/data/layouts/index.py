"""What was found under a root, kept in the cache: a million images open without a look at each.

An Arrow file, one batch a split, memory-mapped: processes share its pages.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from deeper.data.images.stored import Columns
from deeper.data.source import path_key
from deeper.files import whole

FORMAT = 2
"""1: without GIF and what else `SUFFIXES` has now."""

SETTLED_NS = 2 * 10**9
"""Some file systems count in 2 s: a later change may leave no trace in what is younger than that."""


class Index(NamedTuple):
    classes: list[str]
    splits: dict[str, Columns]
    watched: list[Path]
    """Files and folders that make the index stale when their size or time of change does."""


def kept(layout: str, root: Path, cache: Path | None, build: Callable[[], Index]) -> Index:
    """`build()`, or what it answered last time if nothing that it looked at has changed since.

    Without a `cache` it is built each time.
    """
    if cache is None:
        return build()
    path = cache.expanduser() / "index" / f"{path_key(root.expanduser().absolute())}-{layout}.arrow"
    if (found := _read(path)) is not None:
        return found
    before = time.time_ns()
    built = build()
    stamps = _stamps(built.watched)
    if max((time for time, _ in stamps.values()), default=0) > before - SETTLED_NS:
        return built
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, built, stamps)
    return _read(path) or built  # mapped memory in place of this process's own


def _stamps(paths: list[Path]) -> dict[str, list[int]]:
    """Path → time of change in ns, size."""
    found = {}
    for path in paths:
        status = os.stat(path)
        found[os.fspath(path)] = [status.st_mtime_ns, status.st_size]
    return found


def _write(path: Path, index: Index, stamps: dict[str, list[int]]) -> None:
    first, *others = index.splits.values()
    widest = {
        name: max([array, *(part[name] for part in others)], key=lambda a: a.dtype.itemsize).dtype
        for name, array in first.items()
    }
    about = {
        "format": FORMAT,
        "classes": index.classes,
        "splits": list(index.splits),
        "stamps": stamps,
    }
    schema = pa.schema(
        {name: _type(dtype) for name, dtype in widest.items()}, {"deeper": json.dumps(about)}
    )
    with (
        whole(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for part in index.splits.values():
            arrays = [
                _arrow(part[name].astype(dtype, copy=False)) for name, dtype in widest.items()
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _read(path: Path) -> Index | None:
    """None where there is none, or none that still holds."""
    try:
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        about = json.loads(file.schema.metadata[b"deeper"])
        if about["format"] != FORMAT:
            return None
        watched = [Path(path) for path in about["stamps"]]
        if _stamps(watched) != about["stamps"]:
            return None
        splits = {
            name: {
                field.name: _numpy(array)
                for field, array in zip(file.schema, batch.columns, strict=True)
            }
            for name, batch in zip(
                about["splits"], map(file.get_batch, range(len(about["splits"]))), strict=True
            )
        }
        return Index(about["classes"], splits, watched)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
        return None


def _type(dtype: np.dtype[Any]) -> pa.DataType:
    return pa.binary(dtype.itemsize) if dtype.kind == "S" else pa.from_numpy_dtype(dtype)


def _arrow(array: NDArray[Any]) -> pa.Array:
    buffer = pa.py_buffer(np.ascontiguousarray(array))
    return pa.Array.from_buffers(_type(array.dtype), len(array), [None, buffer])


def _numpy(array: pa.Array) -> NDArray[Any]:
    """A view of mapped memory, read-only."""
    kind = array.type
    fixed = pa.types.is_fixed_size_binary(kind)
    dtype = np.dtype(f"S{kind.byte_width}") if fixed else np.dtype(kind.to_pandas_dtype())
    return np.frombuffer(array.buffers()[1], dtype, count=len(array))
