"""The rows of a JPEG that a crop needs, extracted before decoding.

prepare.py packs baseline JPEGs with a restart marker after every row of blocks. Such rows are coded
independently (ITU-T T.81, E.1.4), so the header, some of the rows and an end marker are a JPEG.
The loader is 9 % faster for it: 1663 against 1528 images/s of 300 packed photos, one process.
"""

import re
from typing import NamedTuple

RESTART = re.compile(rb"\xff[\xd0-\xd7]")
"""These bytes never occur within coded data, where 0 follows every 255."""

START_OF_FRAME, RESTART_INTERVAL, START_OF_SCAN = 0xC0, 0xDD, 0xDA
END = b"\xff\xd9"


class Strip(NamedTuple):
    data: bytes
    """A JPEG."""
    first: int
    """Index of its first pixel row in the whole image."""
    height: int


class Header(NamedTuple):
    frame: int
    """Offset of the segment that has the size."""
    height: int
    block: int
    """Height of a row of blocks in pixels: 8, or 16 where chroma is halved."""
    scan: int
    """Offset of the coded data."""


def strip(data: bytes, top: float, bottom: float) -> Strip | None:
    """A JPEG that has at least the pixel rows `top` to `bottom`, equal to the whole image's to the bit.

    It has one more row of blocks at either end, since chroma is interpolated between rows. None if
    that is the whole image, or if `data` is no complete JPEG with a marker after every row. A
    decoder must have accepted the header before.
    """
    header = _header(data)
    if header is None:
        return None
    rows = -(-header.height // header.block)
    first = max(int(top - 1) // header.block, 0)
    last = min(int(bottom) // header.block + 1, rows)
    marks = [match.start() for match in RESTART.finditer(data, header.scan)]
    if last - first == rows or len(marks) != rows - 1 or data[-2:] != END:
        return None
    start = marks[first - 1] + 2 if first else header.scan
    stop = marks[last - 1] if last < rows else len(data) - 2
    height = min(last * header.block, header.height) - first * header.block
    head, body = bytearray(data[: header.scan]), bytearray(data[start:stop])
    head[header.frame + 5 : header.frame + 7] = height.to_bytes(2, "big")
    for number, mark in enumerate(marks[first : last - 1]):
        body[mark + 1 - start] = 0xD0 + number % 8  # markers count from 0 to 7 and start again
    return Strip(b"".join((head, body, END)), first * header.block, height)


def _header(data: bytes) -> Header | None:
    """None for a JPEG without a marker after every row of blocks."""
    at, frame, interval = 2, 0, 0
    while at + 5 < len(data) and data[at] == 0xFF:
        kind, length = data[at + 1], data[at + 2] << 8 | data[at + 3]
        if kind == START_OF_FRAME:
            frame = at
        elif kind == RESTART_INTERVAL:
            interval = data[at + 4] << 8 | data[at + 5]
        elif kind == START_OF_SCAN:
            if not (frame and interval):
                return None
            height, width = (data[frame + i] << 8 | data[frame + i + 1] for i in (5, 7))
            parts = data[frame + 9]
            sampling = [data[frame + 11 + 3 * i] for i in range(parts)]
            across, down = (max(s >> 4 for s in sampling), max(s & 15 for s in sampling))
            if parts == 1:  # a block of a single component is 8 × 8, whatever its sampling says
                across = down = 1
            one_scan, one_row = data[at + 4] == parts, interval == -(-width // (8 * across))
            return (
                Header(frame, height, 8 * down, at + 2 + length) if one_scan and one_row else None
            )
        at += 2 + length
    return None
