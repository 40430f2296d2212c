"""Protocol buffers without their library: the wire format, and nothing of any schema.

A message is a row of fields, each a number, a wire type and a value (encoding as in
https://protobuf.dev/programming-guides/encoding). What a number means is the reader's affair.
"""

from collections.abc import Iterator
from struct import unpack_from
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    number: int
    kind: int
    value: int | memoryview
    """Of a varint the number, else the bytes."""

    def message(self) -> "Message":
        return Message(self._bytes(BYTES))

    def text(self) -> str:
        return bytes(self._bytes(BYTES)).decode()

    def integer(self) -> int:
        """Signed, as int32 and int64 are written."""
        if not isinstance(self.value, int):
            raise ValueError(f"field {self.number} is no integer")
        return self.value - (1 << 64) if self.value >> 63 else self.value

    def number32(self) -> float:
        return float(unpack_from("<f", self._bytes(FIXED32))[0])

    def _bytes(self, kind: int) -> memoryview:
        if self.kind != kind or isinstance(self.value, int):
            raise ValueError(f"field {self.number} has wire type {self.kind}, not {kind}")
        return self.value


class Message:
    """Fields in file order. Raises `ValueError` where bytes are no message."""

    def __init__(self, data: memoryview) -> None:
        self.fields: dict[int, list[Field]] = {}
        for field in _fields(data):
            self.fields.setdefault(field.number, []).append(field)

    def all(self, number: int) -> list[Field]:
        return self.fields.get(number, [])

    def text(self, number: int) -> str:
        """The last one counts, as the format has it; empty where there is none."""
        return self.all(number)[-1].text() if self.all(number) else ""

    def integer(self, number: int, default: int = 0) -> int:
        return self.all(number)[-1].integer() if self.all(number) else default

    def integers(self, number: int) -> list[int]:
        """Repeated, packed or not."""
        found: list[int] = []
        for field in self.all(number):
            if field.kind == BYTES and not isinstance(field.value, int):
                place = 0
                while place < len(field.value):
                    value, place = _varint(field.value, place)
                    found.append(value - (1 << 64) if value >> 63 else value)
            else:
                found.append(field.integer())
        return found

    def floats(self, number: int) -> Tensor:
        """Repeated float, packed or not → float32 [n]."""
        parts = [bytes(f.value) for f in self.all(number) if not isinstance(f.value, int)]
        return float32(b"".join(parts))


def float32(data: bytes | memoryview) -> Tensor:
    """Little-endian bytes → [n]."""
    if len(data) % 4:
        raise ValueError(f"{len(data)} bytes are no row of 32-bit numbers")
    return torch.from_numpy(np.frombuffer(data, "<f4").astype(np.float32))


def _fields(data: memoryview) -> Iterator[Field]:
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if number == 0 or kind not in (VARINT, FIXED64, BYTES, FIXED32):
            raise ValueError(f"no protocol buffer: field {number} of wire type {kind}")
        if kind == VARINT:
            value, place = _varint(data, place)
            yield Field(number, kind, value)
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(kind)
        if length is None:
            length, place = _varint(data, place)
        if place + length > len(data):
            raise ValueError(
                f"cut off: field {number} ends {place + length - len(data)} bytes later"
            )
        yield Field(number, kind, data[place : place + length])
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise ValueError("cut off within a number")
        byte = data[place]
        place += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & ((1 << 64) - 1), place
    raise ValueError("no protocol buffer: a number of more than ten bytes")
