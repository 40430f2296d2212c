"""Single values of a column chunk of a parquet file, of which pyarrow reads no less than a row group.

A chunk is a sequence of pages, each a header and its data, plain or compressed by snappy. Snappy
compresses blocks of 64 KiB, each without reference to another: a block is decompressed by itself.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BLOCK = 2**16
LENGTH = 4
"""Bytes of the number before a value."""
CODECS = ("SNAPPY", "UNCOMPRESSED")


class Page(NamedTuple):
    data: pa.Buffer
    """Decompressed."""
    cuts: NDArray[np.int64]
    """[n, 2], places in the file and in `data` at which blocks begin and end; none in a plain page."""
    start: int
    """Of a plain page's data in the file."""


def find_values(path: Path, chunk: Any, values: pa.Array) -> NDArray[np.int64] | None:
    """Where each of the `values` [n] of the column `chunk`, a `ColumnChunkMetaData`, lies in the file.

    A row of the result [n, 5] is what `read_value` takes. None if not all of them are found: in a chunk
    of another codec, with compressed pages of version 2, or without a value in some row.
    """
    if chunk.compression not in CODECS or values.null_count:
        return None
    places: list[tuple[int, int, int, int, int]] = []
    for page in _pages(path, chunk):
        at = LENGTH
        while len(places) < len(values):
            value = values[len(places)].as_buffer()
            if at > page.data.size or page.data[at : at + value.size] != value:
                # The first value of a page stands behind what tells the missing ones.
                at = page.data.to_pybytes().find(value)
            if at < 0:
                break
            places.append(_place(page, at, value.size))
            at += value.size + LENGTH
    return np.array(places) if len(places) == len(values) else None


def read_value(path: Path, start: int, stop: int, unpacked: int, skip: int, size: int) -> bytes:
    """Bytes `start`..`stop` of the file, decompressed to `unpacked` bytes unless 0; of them `size`.

    The file does not stay open: a set of hundreds of files would exceed what a process may open.
    """
    with path.open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), stop - start, start)
    if len(data) < stop - start:
        raise OSError("the file was cut after it was listed")
    if unpacked:
        data = pa.decompress(_varint(unpacked) + data, unpacked, codec="snappy", asbytes=True)
    return data[skip : skip + size]


def _place(page: Page, at: int, size: int) -> tuple[int, int, int, int, int]:
    if not len(page.cuts):
        return page.start + at, page.start + at + size, 0, 0, size
    first = np.searchsorted(page.cuts[:, 1], at, "right") - 1
    last = np.searchsorted(page.cuts[:, 1], at + size)
    (start, begin), (stop, end) = page.cuts[[first, last]].tolist()
    return start, stop, end - begin, at - begin, size


def _pages(path: Path, chunk: Any) -> Iterator[Page]:
    """Up to the first that is of another version."""
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    with pa.memory_map(str(path)) as file:
        file.seek(start)
        data = memoryview(file.read_buffer(chunk.total_compressed_size)).cast("B")
    at = 0
    with suppress(IndexError, KeyError, OSError, pa.ArrowException):
        while at < len(data):
            header, at = _read_struct(data, at)
            page = data[at : at + header[3]]
            if chunk.compression == "SNAPPY":
                unpacked = pa.decompress(page, header[2], codec="snappy")
                cuts = _cuts(page, start + at)
            else:
                unpacked, cuts = pa.py_buffer(page), np.empty((0, 2), np.int64)
            yield Page(unpacked, cuts, start + at)
            at += len(page)


def _cuts(data: memoryview, start: int) -> NDArray[np.int64]:
    """`Page.cuts` of snappy's `data`, which begins at `start` in the file."""
    size, at = _read_varint(data, 0)
    done, cuts = 0, []
    while at < len(data):
        if done % BLOCK == 0:
            cuts.append((start + at, done))
        kind, length = data[at] & 3, (data[at] >> 2) + 1
        at += 1
        if kind == 0:  # the bytes themselves, after their number if it is above 60
            if (more := length - 60) > 0:
                length = int.from_bytes(data[at : at + more], "little") + 1
                at += more
            at += length
        elif kind == 1:  # a copy of earlier bytes
            length = 4 + (length - 1 & 7)
            at += 1
        else:
            at += kind * 2 - 2
        done += length
    return np.array([*cuts, (start + at, size)], np.int64)


def _read_struct(data: memoryview, at: int) -> tuple[dict[int, Any], int]:
    """The numbers in a struct of Thrift's compact protocol, by field, and the place after it."""
    fields: dict[int, Any] = {}
    field = 0
    while kind := data[at]:
        at, field, kind = at + 1, field + (kind >> 4), kind & 15
        if kind == 12:
            fields[field], at = _read_struct(data, at)
        elif kind > 2:  # below are truth values, which have no bytes of their own
            number, at = _read_varint(data, at)
            at += number if kind == 8 else 0  # of bytes
            fields[field] = number >> 1  # none is negative
    return fields, at + 1


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return number, at


def _varint(number: int) -> bytes:
    low, high = number & 127, number >> 7
    return bytes([low | 128]) + _varint(high) if high else bytes([low])
