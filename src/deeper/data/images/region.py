"""The part of a JPEG that a crop needs, extracted before decoding.

A JPEG is coded in blocks, row by row. prepare.py packs baseline JPEGs with a restart marker after every
few blocks: the segments between markers are coded independently (ITU-T T.81, E.1.4), so the header,
some of the segments and an end marker are a JPEG.

A JPEG without restart markers has to be decoded from the top. There a smaller height in the header
ends the decoding after the last row that is needed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

START_OF_FRAME, RESTART_INTERVAL, START_OF_SCAN = 0xC0, 0xDD, 0xDA
END = b"\xff\xd9"

Box = tuple[float, float, float, float]
"""left, top, right, bottom, in pixels"""


class Region(NamedTuple):
    data: bytes
    """A JPEG."""
    left: int
    """Of its first pixel column in the whole image."""
    top: int
    width: int
    height: int
    strict: bool
    """Whether to decode it strictly; False where the coded data goes on after the last row."""


class Header(NamedTuple):
    frame: int
    """Offset of the segment that has the size."""
    scan: int
    """Offset of the coded data."""
    width: int
    height: int
    across: int
    """Width in pixels of the blocks between two restart markers; without markers that of the image."""
    down: int
    """Height of a block in pixels: 8, or 16 where chroma is halved."""
    marked: bool
    """Whether there are restart markers, one of them at the end of each row of blocks."""


def region(data: bytes, box: Box, scale: int = 1) -> Region | None:
    """A JPEG with the pixels in `box`, which decode at 1/`scale` of the size as in the whole image.

    Parts at least 5 pixels wide after scaling are equal to the bit. Chroma is interpolated from the
    next pixel, so these are included. None if that is the whole image, or if `data` is not a complete
    baseline JPEG with restart markers at the ends of rows or without any marker. A decoder must have
    accepted the header before.
    """
    header = _header(data)
    if header is None or data[-2:] != END:
        return None
    columns, rows = -(-header.width // header.across), -(-header.height // header.down)
    first, last = _span(box[0], box[2], scale + 1, header.across, columns)
    upper, lower = _span(box[1], box[3], scale + 1, header.down, rows)
    if not header.marked:
        upper = 0
    if (last - first, lower - upper) == (columns, rows):
        return None
    left, top = first * header.across, upper * header.down
    width = min(last * header.across, header.width) - left
    height = min(lower * header.down, header.height) - top
    head = bytearray(data[: header.scan])
    head[header.frame + 5 : header.frame + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    if not header.marked:
        if _has_marker(data, header.scan, len(data) - 2):
            return None
        whole = b"".join((head, memoryview(data)[header.scan :]))
        return Region(whole, left, top, width, height, strict=False)
    marks = _markers(data, header.scan, len(data) - 2)
    if len(marks) != rows * columns - 1:
        return None
    starts = [header.scan, *(marks + 2).tolist(), len(data)]
    body = bytearray()
    for row in range(upper * columns, lower * columns, columns):
        body += memoryview(data)[starts[row + first] : starts[row + last]]
    marks = _markers(body, 0, len(body) - 2)
    np.frombuffer(body, np.uint8)[marks + 1] = 0xD0 + np.arange(len(marks)) % 8  # counted anew
    body[-2:] = END
    return Region(b"".join((head, body)), left, top, width, height, strict=True)


def _span(low: float, high: float, margin: int, length: int, number: int) -> tuple[int, int]:
    """The first and the end of the parts of that length, of `number`, that reach from `low` to `high`."""
    return max(int(low - margin) // length, 0), min(int(high + margin) // length + 1, number)


def _has_marker(data: bytes, start: int, stop: int) -> bool:
    """Whether coded data has a marker: in half of the time of `_markers` for a large file."""
    coded = np.frombuffer(data, np.uint8)[start:stop]
    marks = coded[:-1] == 0xFF
    marks &= coded[1:] != 0  # in place, since a new array costs a third of the time
    return bool(marks.any())


def _markers(data: bytes | bytearray, start: int, stop: int) -> NDArray[np.intp]:
    """Offsets of the markers in coded data, where otherwise 0 follows every 0xFF."""
    coded = np.frombuffer(data, np.uint8)[start:stop]
    found = np.flatnonzero(coded[:-1] == 0xFF)
    marks: NDArray[np.intp] = found[coded[found + 1] != 0] + start
    return marks


def _header(data: bytes) -> Header | None:
    """None for a JPEG that is not baseline or whose rows do not end with restart markers, if it has some."""
    at, frame, interval = 2, 0, 0
    while at + 5 < len(data) and data[at] == 0xFF:
        kind, length = data[at + 1], data[at + 2] << 8 | data[at + 3]
        if kind == START_OF_FRAME:
            frame = at
        elif kind == RESTART_INTERVAL:
            interval = data[at + 4] << 8 | data[at + 5]
        elif kind == START_OF_SCAN:
            if not frame:
                return None
            height, width = (data[frame + i] << 8 | data[frame + i + 1] for i in (5, 7))
            parts = data[frame + 9]
            sampling = [data[frame + 11 + 3 * i] for i in range(parts)]
            across, down = (8 * max(s >> 4 for s in sampling), 8 * max(s & 15 for s in sampling))
            if parts == 1:  # a block of a single component is 8 × 8, whatever its sampling says
                across = down = 8
            if data[at + 4] != parts or (interval and -(-width // across) % interval):
                return None
            across = across * interval or width
            return Header(frame, at + 2 + length, width, height, across, down, interval > 0)
        at += 1 if kind == 0xFF else 2 + length  # 0xFF may be repeated before a marker
    return None
