"""Files that stand under their names whole or not at all, whenever the process is killed."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to: synced and renamed at the end, removed after a failure.

    Raises `ValueError` where the disk is full. What a kill leaves, `sweep` removes.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with disk_full_said(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def disk_full_said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        free = shutil.disk_usage(path.parent).free
        raise ValueError(
            f"{path}: {os.strerror(error.errno)} ({gigabytes(free)} free in {path.parent}); make "
            f"room or choose another folder, and run the same command again: it goes on from here"
        ) from error


def require_space(folder: Path, needed: int, key: str) -> None:
    """Refuse before the first byte what `folder`, which `key` names, has no room for."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{key}={folder}: needs {gigabytes(needed)}, and {gigabytes(free)} are free; make room "
            f"or choose another folder"
        )


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder that is ours."""
    for path in folder.glob(".*"):
        if re.fullmatch(r"\..+\.\d+", path.name):
            path.unlink(missing_ok=True)


def gigabytes(count: int) -> str:
    """12.3 GB, or 4.5 MB for what is small."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
