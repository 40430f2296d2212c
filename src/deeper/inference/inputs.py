"""Pictures that a user names: files, folders, globs, and lists on standard input."""

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import NamedTuple

from deeper.data.images.encoded import ADVICE, SUFFIXES, UNREAD, Encoded

MAX_BYTES = 1 << 30
"""Of a file: larger ones are no pictures of a size that `Encoded` reads."""

_BLOCK = 1 << 16


class Found(NamedTuple):
    """`why` is None for what may be a picture, else why it is none; "" for what nobody said was one."""

    path: str
    why: str | None = None


def find(
    names: Iterable[str], stdin: BufferedReader | BytesIO, separator: bytes = b"\n"
) -> Iterator[Found]:
    """In the order of `names`; folders recursively and sorted, the files of each before its folders.

    A name that exists is taken literally, a glob only else; `-` is `stdin`, whose names are literal.
    In a folder a picture is what begins as one or is named as one: the latter is worth a complaint.
    """
    for name in names:
        if name == "-":
            for line in _lines(stdin, separator):
                yield from _named(line)
        elif not os.path.lexists(name) and glob.has_magic(name):
            yield from _matching(name)
        else:
            exists = os.path.lexists(name)
            yield from _named(name if exists else os.path.expanduser(name))


def read(path: str) -> Encoded:
    """`ValueError` or `OSError` for what is no picture; what decoding finds comes later."""
    with open(path, "rb") as file:
        head = file.read(_BLOCK)
        if not _begins_as_picture(head):
            _ = Encoded(head, path).size  # says why not, before all of a large file is read
        data = head + file.read(MAX_BYTES)
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES / 1e9:.1f} GB")
    return Encoded(data, path)


def reason(error: Exception, path: str) -> str:
    """What is wrong with a picture, without its name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error) or type(error).__name__
    return text.removeprefix(f"cannot read the image {path}: ").removesuffix(ADVICE)


def spelt(name: str) -> str:
    """A name on one line: control characters and bytes that are no UTF-8 as escapes.

    A name may hold a newline, or what a terminal would obey.
    """
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _named(name: str) -> Iterator[Found]:
    try:
        status = os.stat(name)
    except (OSError, ValueError) as error:  # the latter of a name with a NUL
        yield Found(name, reason(error, name))
        return
    if stat.S_ISDIR(status.st_mode):
        yield from _below(name, set())
    else:
        yield Found(name)


def _matching(pattern: str) -> Iterator[Found]:
    matches = glob.glob(os.path.expanduser(pattern), recursive=True)
    if (
        "**" in pattern
    ):  # follows links, also one that leads back: a file once, by its shortest name
        matches.sort(key=len, reverse=True)
        matches = list({os.path.realpath(match): match for match in matches}.values())
    if not matches:
        yield Found(pattern, "no such file, and as a pattern it matches nothing")
    for match in sorted(matches):
        yield from _named(match)


def _below(folder: str, seen: set[tuple[int, int]]) -> Iterator[Found]:
    """`seen` holds folders by device and inode: a link may lead back to where it stands."""
    try:
        status = os.stat(folder)
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        yield Found(folder, reason(error, folder))
        return
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    folders = []
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            folders.append(path)
        else:
            yield _in_folder(path)
    for path in folders:
        yield from _below(path, seen)


def _in_folder(path: str) -> Found:
    suffix = Path(path).suffix.lower() in (*SUFFIXES, *UNREAD) and not os.path.basename(
        path
    ).startswith("._")
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return Found(path, "")  # to read a pipe would be to wait for it
        with open(path, "rb") as file:
            picture = suffix or _begins_as_picture(file.read(16))
    except OSError as error:
        return Found(path, reason(error, path) if suffix else "")
    return Found(path, None if picture else "")


def _begins_as_picture(head: bytes) -> bool:
    """By the first bytes of the formats that `Encoded` reads."""
    return (
        head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == bytes(4))  # reserved: else a text may begin so
        or (head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace())
    )


def _lines(stream: BufferedReader | BytesIO, separator: bytes) -> Iterator[str]:
    """As they arrive, without the empty ones."""
    rest = b""
    while block := stream.read1(_BLOCK):
        *names, rest = (rest + block).split(separator)
        yield from map(os.fsdecode, filter(None, names))
    if rest:
        yield os.fsdecode(rest)
