"""Where the members of a tar lie. Nothing is extracted; what no honest archive of images holds is refused.

Stricter than tarfile, which takes a cut archive for a short one.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

BLOCK = 512
PLAIN = (b"0", b"\0", b"7")
FOLDER, LONG_NAME, PAX, PAX_GLOBAL = b"5", b"L", b"x", b"g"
REFUSED = {
    b"1": "a link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
    b"K": "a link with a long name",
}
MAX_HEADER = 1 << 16
"""Bytes of a long name or of extended attributes."""

COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"PK\x03\x04": ("zip", "unzip"),
}

Read = Callable[[int, int], bytes]
"""(count, offset) → at most `count` bytes."""


class Member(NamedTuple):
    name: str
    offset: int
    """Of its first byte, from the start of the outermost archive."""
    size: int


def require_plain(path: Path) -> None:
    """Raises `ValueError` for a compressed archive, in which no member has a place of its own."""
    with path.open("rb") as file:
        head = file.read(8)
    for magic, (kind, command) in COMPRESSED.items():
        if head.startswith(magic):
            raise ValueError(
                f"{path} is compressed with {kind}: its images can't be read in place, each would "
                f"need all bytes before it; run {command} {path} and point data.root at what that makes"
            )


def members(
    read: Read, start: int, end: int, archive: str, marked: bool = True
) -> Iterator[Member]:
    """The files of the tar in bytes `start`..`end`, which `archive` names in errors.

    `marked=False` accepts one that ends after a member without the blocks of zeros that mark an
    end, as some writers make them: only right where the size is known to be whole.
    Raises `ValueError` that names the member.
    """
    seen: set[str] = set()
    place, renamed = start, None
    while True:
        header = read(BLOCK, place)
        if not marked and place >= end:
            return
        if place + BLOCK > end or len(header) < BLOCK:
            raise ValueError(f"{archive} is cut: it ends at byte {end} without the mark of an end")
        if header.count(0) == BLOCK:
            return
        name, size, kind = _parsed(header, archive, place)
        name = renamed or name
        data = place + BLOCK
        place = data + -(-size // BLOCK) * BLOCK
        if data + size > end:
            raise ValueError(
                f"{archive} is cut, or lies: {name!r} says it has {size} bytes, and "
                f"{max(end - data, 0)} are left"
            )
        if kind in (LONG_NAME, PAX, PAX_GLOBAL):
            if size > MAX_HEADER:
                raise ValueError(
                    f"{archive}: a header of {size} bytes before byte {place}; refused"
                )
            told = read(size, data)
            if kind == LONG_NAME:
                renamed = os.fsdecode(told.rstrip(b"\0"))
            else:
                renamed = _extended(told, archive, kind) or renamed
            continue
        renamed = None
        _require_harmless(name, kind, archive)
        if kind == FOLDER or name.endswith("/"):
            continue
        name = name.removeprefix("./")
        if name in seen:
            raise ValueError(
                f"{archive} holds {name!r} twice; refused, since only one can be meant"
            )
        seen.add(name)
        yield Member(name, data, size)


def _parsed(header: bytes, archive: str, place: int) -> tuple[str, int, bytes]:
    """Name, size and kind, if the checksum is right."""
    told = header[148:156]
    try:
        right = _number(told) == sum(header) - sum(told) + 8 * ord(" ")
        size = _number(header[124:136])
    except ValueError:
        right, size = False, -1
    if not right or size < 0:
        raise ValueError(f"{archive} is damaged, or no tar: no header of a member at byte {place}")
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].partition(b"\0")[0]):
        name = prefix + b"/" + name
    return os.fsdecode(name), size, header[156:157]


def _number(field: bytes) -> int:
    """Octal digits, or base 256 where the first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:]) if field[0] != 0xFF else -1
    return int(field.strip(b" \0") or b"0", 8)


def _extended(records: bytes, archive: str, kind: bytes) -> str | None:
    """The path that pax records "<length> <key>=<value>\\n" give, if they give one."""
    path = None
    while records:
        length, space, _ = records.partition(b" ")
        if not space or not length.isdigit() or not 0 < int(length) <= len(records):
            raise ValueError(f"{archive} is damaged: extended headers that can't be read")
        record, records = records[: int(length)], records[int(length) :]
        key, _, value = record[len(length) + 1 : -1].partition(b"=")
        if key == b"size" or key.startswith(b"GNU.sparse") or key == b"linkpath":
            raise ValueError(f"{archive}: a member with {key.decode()!r} in its headers; refused")
        if key == b"path":
            if kind == PAX_GLOBAL:
                raise ValueError(f"{archive}: one path for all members; refused")
            path = os.fsdecode(value)
    return path


def _require_harmless(name: str, kind: bytes, archive: str) -> None:
    if kind != FOLDER and kind not in PLAIN:
        what = REFUSED.get(kind, f"of unknown kind {kind!r}")
        raise ValueError(f"{archive}: {name!r} is {what}; refused, only plain files are read")
    parts = name.replace("\\", "/").split("/")
    if not name or "\0" in name or not parts[0] or ".." in parts or parts[0].endswith(":"):
        raise ValueError(f"{archive}: {name!r} points out of the archive; refused")
