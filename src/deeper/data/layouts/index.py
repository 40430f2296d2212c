"""Cache of the list of images under a root, so that a million images open without a look at each."""

import json
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deeper.data.images.stored import Columns
from deeper.data.source import path_key
from deeper.files import whole

FORMAT = 4
ABOUT = "about"
"""The array of the file that holds format, classes and stamps as JSON."""


class Index(NamedTuple):
    classes: list[str]
    splits: dict[str, Columns]
    watched: list[Path]
    """Files and folders; the index is stale when the size or modification time of one changes."""


def cached(layout: str, root: Path, cache: Path, build: Callable[[Path], Index]) -> Index:
    """The index from the cache, or `build(root)` if there is none or something watched has changed."""
    path = cache / "index" / f"{path_key(root.expanduser().absolute())}-{layout}.npz"
    if (stored := _read(path)) is not None:
        return stored
    start = time.time_ns()
    built = build(root)
    stamps = _stamps(built.watched)
    if all(changed < start for changed, _ in stamps.values()):  # nothing changed meanwhile
        _write(path, built, stamps)
    return built


def _stamps(paths: list[Path]) -> dict[str, list[int]]:
    """Path → modification time in ns, size."""
    statuses = {os.fspath(path): os.stat(path) for path in paths}
    return {path: [status.st_mtime_ns, status.st_size] for path, status in statuses.items()}


def _write(path: Path, index: Index, stamps: dict[str, list[int]]) -> None:
    about = {"format": FORMAT, "classes": index.classes, "stamps": stamps}
    arrays: dict[str, Any] = {ABOUT: np.frombuffer(json.dumps(about).encode(), np.uint8)}
    for split, columns in index.splits.items():
        arrays |= {f"{split}/{name}": array for name, array in columns.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _read(path: Path) -> Index | None:
    """None if there is no index, or it is damaged, stale or of another format."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            about = json.loads(arrays[ABOUT].tobytes())
            watched = [Path(path) for path in about["stamps"]]
            if about["format"] != FORMAT or _stamps(watched) != about["stamps"]:
                return None
            splits: dict[str, Columns] = {}
            for key in arrays.files[1:]:
                split, _, name = key.partition("/")
                splits.setdefault(split, {})[name] = arrays[key]
        return Index(about["classes"], splits, watched)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
