"""Offsets of the images in a tar, by the standard library's reader. Nothing is extracted.

`tarfile` takes a cut archive for a shorter one, so the end marker is checked here.
"""

import os
import tarfile
from collections.abc import Iterator
from io import FileIO
from typing import NamedTuple

END_MARKER = bytes(2 * tarfile.BLOCKSIZE)


class Member(NamedTuple):
    name: str
    """File name, without folders."""
    offset: int
    """Of the first byte, from the start of the outermost archive."""
    size: int


def members(file: FileIO, start: int, end: int, archive: str) -> Iterator[Member]:
    """The files of the tar in bytes `start`..`end` of `file`; errors call it `archive`.

    Raises `ValueError` for a damaged or cut archive, and for a member without bytes of its own.
    """
    if hasattr(os, "posix_fadvise"):  # only headers are read: no readahead of the images between
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
    file.seek(start)
    try:
        tar = tarfile.TarFile(fileobj=file)
        while (member := tar.next()) is not None:
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise ValueError(f"{archive}: {member.name!r} is a link or a device; refused")
            if member.offset_data + member.size > end:
                raise ValueError(
                    f"{archive} is cut: {member.name!r} has {member.size} bytes, and only "
                    f"{max(end - member.offset_data, 0)} are left"
                )
            yield Member(os.path.basename(member.name), member.offset_data, member.size)
    except tarfile.TarError as error:
        raise ValueError(f"{archive} is cut, or no uncompressed tar: {error}") from error
    marker = os.pread(file.fileno(), len(END_MARKER), tar.offset)
    if tar.offset + len(END_MARKER) > end or marker != END_MARKER:
        raise ValueError(f"{archive} is cut or damaged: no end marker at byte {tar.offset}")
