"""Files that are complete or absent, whenever the process is killed or the disk is full."""

import errno
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """A temporary path to write to, synced and renamed to `path` at the end, removed after an error."""
    with beside(path) as temporary:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A temporary path of this process in the folder of `path`, removed at the end.

    `sweep` removes those of processes that were killed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def remove_temporary(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder; the caller alone writes there."""
    for path in folder.glob(".*"):
        if re.fullmatch(r"\..+\.\d+", path.name):
            path.unlink(missing_ok=True)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """As `replacement`, but raises `ValueError` where the disk is full."""
    with disk_full_explained(path), replacement(path) as temporary:
        yield temporary


@contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Raises `ValueError` in place of an `OSError` that means a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        free = shutil.disk_usage(path.parent).free
        raise ValueError(
            f"{path}: {os.strerror(error.errno)} ({gigabytes(free)} free in {path.parent}); make "
            f"room or choose another folder, and run the command again"
        ) from error


def require_space(folder: Path, needed: int, key: str) -> None:
    """Refuse to start writing `needed` bytes where they don't fit; the option `key` names the folder."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{key}={folder}: needs {gigabytes(needed)}, and {gigabytes(free)} are free; make room "
            f"or choose another folder"
        )


def gigabytes(count: int) -> str:
    """12.3 GB, or 4.5 MB below one of them."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """In hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def json_text(content: Any, **options: Any) -> str:
    """Strict JSON: numbers that are not finite become null."""
    return json.dumps(_finite(content), allow_nan=False, default=str, **options)


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
