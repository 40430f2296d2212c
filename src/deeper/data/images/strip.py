"""The rows of a JPEG that a crop needs, cut out before anything is decoded.

A baseline JPEG with a restart marker after every row of blocks, as prepare.py packs them, is a
sequence of rows that know nothing of each other (ITU-T T.81, E.1.4): header, some of them and an end
make a picture of its own. To decode that takes a fifth less time for the paper's crops.
"""

import re
from typing import NamedTuple

RESTART = re.compile(rb"\xff[\xd0-\xd7]")
"""Never within coded data, where 0 follows every 255."""

START_OF_FRAME, RESTART_INTERVAL, START_OF_SCAN = 0xC0, 0xDD, 0xDA
END = b"\xff\xd9"


class Strip(NamedTuple):
    data: bytes
    """A JPEG."""
    first: int
    """Its first row in the picture that it was cut from."""
    height: int


class Header(NamedTuple):
    frame: int
    """Where the segment with the size begins."""
    height: int
    block: int
    """Height of a row of blocks in pixels: 8, or 16 where chroma is halved."""
    scan: int
    """Where coded data begin."""


def strip(data: bytes | memoryview, top: float, bottom: float) -> Strip | None:
    """The rows `top` to `bottom` at least, with the same pixels there, bit for bit.

    At either end comes a row more than asked for, since chroma is interpolated between rows. None
    where that would be all rows, and where `data` are no complete JPEG of such rows. Its header must
    have been read by a decoder.
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
    for number, mark in enumerate(marks[first : last - 1]):  # they count to seven and begin anew
        body[mark + 1 - start] = 0xD0 + number % 8
    return Strip(b"".join((head, body, END)), first * header.block, height)


def _header(data: bytes | memoryview) -> Header | None:
    """None for what is not made of such rows."""
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
