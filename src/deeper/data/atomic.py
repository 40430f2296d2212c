"""Files written whole or not at all on a disk that may fill, and the room that there is."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeper.atomic import replacement

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """As `replacement`. Raises `ValueError` where the disk is full."""
    with disk_full_said(path), replacement(path) as temporary:
        yield temporary


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
            f"room or choose another folder, and run the command again"
        ) from error


def require_space(folder: Path, needed: int, key: str) -> None:
    """Refuse before the first byte what `folder`, which `key` names, has no room for."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{key}={folder}: needs {gigabytes(needed)}, and {gigabytes(free)} are free; make room "
            f"or choose another folder"
        )


def gigabytes(count: int) -> str:
    """12.3 GB, or 4.5 MB for what is small."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
