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
    complete: bool
    """False if the coded data goes on after the last row; a strict decoder refuses that."""


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
    """Whether there are restart markers, also one after the last block of each row."""


def region(data: bytes, box: Box) -> Region | None:
    """A JPEG that has at least the pixels in `box`, equal to those of the whole image to the bit.

    It has more pixels around them, from which chroma is interpolated. None if that is the whole image,
    or if `data` is no complete baseline JPEG, or has restart markers but none at the ends of rows. A
    decoder must have accepted the header before.
    """
    header = _header(data)
    if header is None or data[-2:] != END:
        return None
    columns, rows = -(-header.width // header.across), -(-header.height // header.down)
    first, last = _span(box[0], box[2], header.across, columns)
    upper, lower = _span(box[1], box[3], header.down, rows)
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
        whole = b"".join((head, memoryview(data)[header.scan :]))
        return Region(whole, left, top, width, height, complete=False)
    marks = _restart_markers(data, header.scan)
    starts = [header.scan, *(marks + 2).tolist(), len(data)]
    if len(starts) != rows * columns + 1:
        return None
    body = bytearray()
    for row in range(upper * columns, lower * columns, columns):
        body += memoryview(data)[starts[row + first] : starts[row + last]]
    marks = _restart_markers(body)
    np.frombuffer(body, np.uint8)[marks + 1] = 0xD0 + np.arange(len(marks)) % 8  # counted anew
    body[-2:] = END
    return Region(b"".join((head, body)), left, top, width, height, complete=True)


def _span(low: float, high: float, length: int, number: int) -> tuple[int, int]:
    """Of `number` parts of that length, the first that has pixels from `low` − 1 to `high`, and the end."""
    return max(int(low - 1) // length, 0), min(int(high) // length + 1, number)


def _restart_markers(data: bytes | bytearray, start: int = 0) -> NDArray[np.intp]:
    """Offsets of the bytes 0xFF, 0xD0…D7. Within coded data 0 follows every 0xFF."""
    coded = np.frombuffer(data, np.uint8, offset=start)
    found = np.flatnonzero(coded[:-1] == 0xFF)
    marks: NDArray[np.intp] = found[coded[found + 1] & 0xF8 == 0xD0] + start
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
