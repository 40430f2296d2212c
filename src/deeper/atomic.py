"""Files that stand under their names whole or not at all, whenever the process is killed."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """A path to write to: synced and renamed to `path` at the end, removed after a failure."""
    with beside(path) as temporary:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name of this process's own next to `path`, so that a rename is possible; gone at the end.

    What a kill leaves, `sweep` removes.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder that is ours."""
    for path in folder.glob(".*"):
        if re.fullmatch(r"\..+\.\d+", path.name):
            path.unlink(missing_ok=True)
