"""Image files that a user names: files, folders, globs, and a list on standard input."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from deeper.data.images.encoded import SUFFIXES, UNREAD, Encoded


def find_images(names: Iterable[str], stdin: BinaryIO, separator: bytes = b"\n") -> Iterator[str]:
    """Paths in the order of `names`; `-` stands for the names on `stdin`, which may be a pipe.

    A name that exists is taken literally, any other one as a glob. Missing files are passed on, so
    that reading them reports them.
    """
    for name in names:
        if name == "-":
            lines: Iterable[bytes] = (line.rstrip(b"\n") for line in stdin)  # as they arrive
            for line in filter(
                None, lines if separator == b"\n" else stdin.read().split(separator)
            ):
                yield from _expanded(os.fsdecode(line))
        elif not os.path.lexists(name) and glob.has_magic(name):
            for match in sorted(glob.glob(os.path.expanduser(name), recursive=True)) or [name]:
                yield from _expanded(match)
        else:
            yield from _expanded(name if os.path.lexists(name) else os.path.expanduser(name))


def read_image(path: str) -> Encoded:
    """`ValueError` or `OSError` for a file that is no image; damage is found when it is decoded."""
    return Encoded(Path(path).read_bytes(), path)


def _expanded(name: str) -> Iterator[str]:
    """The name itself, or all files below a folder that are named as images; hidden files are left out.

    Images of formats that can't be read are passed on too: skipping them would go unnoticed.
    """
    if not os.path.isdir(name):
        yield name
        return
    for folder, folders, files in os.walk(name):
        folders.sort()
        for file in sorted(files):
            suffix = os.path.splitext(file)[1].lower()
            if suffix in (*SUFFIXES, *UNREAD) and not file.startswith("."):
                yield os.path.join(folder, file)
