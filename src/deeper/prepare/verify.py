"""A chunk: consecutive images of a split, verified by one worker into one result file.

The file's name holds what was asked of which images, so that a restart knows what is done, and a
file that was replaced since is looked at again.
"""

import hashlib
import io
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from deeper.data.images.encoded import FORMATS, Encoded
from deeper.data.images.stored import StoredImages
from deeper.data.manifest import OK, SCHEMA, Manifest, spelt
from deeper.files import whole
from deeper.prepare.checksums import Digest

IMAGES = 256
"""Of a chunk: about a second of a core, and what a kill costs."""

LONGEST = 65_500
"""Pixels of a side that libjpeg writes."""


class Chunk(NamedTuple):
    split: str
    number: int
    start: int
    stop: int

    @property
    def images(self) -> int:
        return self.stop - self.start


def chunks(counts: Mapping[str, int]) -> Iterator[Chunk]:
    """Every image of every split, in the order of the splits: the same wherever it is asked."""
    for split, count in counts.items():
        for number, start in enumerate(range(0, count, IMAGES)):
            yield Chunk(split, number, start, min(start + IMAGES, count))


@dataclass(frozen=True)
class Shrinking:
    """A shorter side of more than `size` pixels becomes `size`, as JPEG of `quality` (1..100)."""

    size: int
    quality: int

    def __call__(self, pixels: NDArray[np.uint8], data: bytes | memoryview) -> bytes | memoryview:
        """Smaller pictures keep their bytes. Lanczos over the whole picture, chroma halved as
        photographs mostly have it, and a restart marker after each row of blocks: 55 bytes a
        picture, for which a crop need not decode other rows (`deeper.data.images.strip`).
        """
        height, width = pixels.shape[:2]
        scale = self.size / min(height, width)
        to = (max(round(width * scale), self.size), max(round(height * scale), self.size))
        if scale >= 1 or max(to) > LONGEST:
            return data
        small = Image.fromarray(pixels).resize(to, Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        options: dict[str, Any] = {"subsampling": "4:2:0", "restart_marker_rows": 1}
        small.save(stream, "JPEG", quality=self.quality, **options)
        return stream.getvalue()


@dataclass(frozen=True)
class Work:
    """What every worker needs to know. Results have the columns of a manifest; with `shrinking`
    also `image`, the bytes to keep of each good one.
    """

    parts: Mapping[str, StoredImages]
    classes: list[str]
    folder: Path
    shrinking: Shrinking | None = None
    known: Path | None = None
    """The manifest of an earlier run, for what has not changed since."""

    def __getstate__(self) -> dict[str, Any]:
        """What is mapped stays: every worker opens the earlier manifest itself."""
        return {name: value for name, value in vars(self).items() if name != "_earlier"}

    @cached_property
    def _earlier(self) -> Manifest | None:
        return None if self.known is None else Manifest.read(self.known)

    def __call__(self, task: Chunk | Digest) -> Path | str:
        return task.value() if isinstance(task, Digest) else self.result(task)

    def result(self, chunk: Chunk) -> Path:
        """The path of the chunk's result, which is there when this returns."""
        part = self.parts[chunk.split]
        places = range(chunk.start, chunk.stop)
        sizes, changed = _stamps(part, places)
        listed = pa.table(
            {
                "name": [spelt(part.name(i)) for i in places],
                "label": part.labels[chunk.start : chunk.stop],
                "bytes": pa.array(sizes, pa.int64()),
                "changed": pa.array(changed, pa.int64()),
            }
        )
        path = self.folder / f"{chunk.split}-{chunk.number:06d}-{self._digest(listed)}.arrow"
        if not _finished(path):
            rows = self._known(chunk, listed)
            if rows is None:
                rows = self._examine(chunk, changed)
            with (
                whole(path) as temporary,
                pa.OSFile(str(temporary), "wb") as sink,
                pa.ipc.new_file(sink, rows.schema) as writer,
            ):
                writer.write_table(rows)
        return path

    def _digest(self, listed: pa.Table) -> str:
        digest = hashlib.sha256(repr((self.shrinking, self.classes)).encode())
        for column in listed.columns:
            digest.update(repr(column.to_pylist()).encode())
        return digest.hexdigest()[:16]

    def _known(self, chunk: Chunk, listed: pa.Table) -> pa.Table | None:
        """Rows of an earlier run for the same images, if all were good."""
        if self.shrinking is not None or (earlier := self._earlier) is None:
            return None
        rows = earlier.rows(chunk.split).slice(chunk.start, len(listed)).cast(SCHEMA)
        rows = rows.replace_schema_metadata(None)
        same = rows.select(listed.column_names).equals(listed) and earlier.classes == self.classes
        return rows if same and set(rows["status"].to_pylist()) == {OK} else None

    def _examine(self, chunk: Chunk, changed: list[int]) -> pa.Table:
        places = zip(range(chunk.start, chunk.stop), changed, strict=True)
        seen = [self._image(chunk.split, i) | {"changed": when} for i, when in places]
        columns = {name: [row[name] for row in seen] for name in SCHEMA.names}
        rows = pa.table(columns, schema=SCHEMA)
        if self.shrinking is None:
            return rows
        images = pa.array([row["image"] for row in seen], pa.large_binary())
        return rows.append_column("image", images)

    def _image(self, split: str, index: int) -> dict[str, Any]:
        part = self.parts[split]
        name, label = part.name(index), int(part.labels[index])
        row = {"split": split, "name": spelt(name), "label": label, "class": self.classes[label]}
        row |= {"bytes": 0, "sha256": bytes(32), "width": 0, "height": 0, "mode": ""}
        row |= {"status": OK, "image": None}
        try:
            data = part.read(index)
            row |= {"bytes": len(data), "sha256": hashlib.sha256(data).digest()}
            encoded = Encoded(data, name)
            width, height = encoded.size
            pixels, _ = encoded.pixels()
            row |= {"width": width, "height": height, "mode": _mode(data)}
            if self.shrinking is not None:
                row["image"] = self.shrinking(pixels, data)
        except (OSError, ValueError) as error:
            row["status"] = _reason(error, name)
        return row


def _finished(path: Path) -> bool:
    """Whether a result is there and found nothing bad: what is bad may have been mended since."""
    try:
        with pa.memory_map(str(path)) as source:
            rows = pa.ipc.open_file(source).read_all()
            return set(rows["status"].to_pylist()) == {OK}
    except (FileNotFoundError, pa.ArrowInvalid):
        return False


def _stamps(part: StoredImages, places: range) -> tuple[list[int], list[int]]:
    """Bytes of images without reading them, and when their files were last touched; 0 where one is
    not there. A file that was unpacked or downloaded again may have the old size and mtime.
    """
    sizes, changed = [], []
    seen: dict[str, tuple[int, int]] = {}
    for place in places:
        if (path := part.path(place)) not in seen:
            try:
                status = os.stat(path)
                seen[path] = status.st_size, status.st_ctime_ns
            except OSError:
                seen[path] = 0, 0
        sizes.append(seen[path][0])
        changed.append(seen[path][1])
    known = getattr(part, "sizes", None)  # of many in one file
    return sizes if known is None else known[places.start : places.stop].tolist(), changed


def _mode(data: bytes | memoryview) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(Image.open(io.BytesIO(data), formats=FORMATS).mode)


def _reason(error: Exception, name: str) -> str:
    """Why, in words that are the same in every run and wherever the root lies."""
    for of_system in (error, error.__cause__):
        if isinstance(of_system, OSError) and of_system.strerror:
            return of_system.strerror  # its text has the path
    why = str(error).partition(f"{name}: ")[2] or str(error)
    why = re.sub(r"<\S+ object at 0x\w+>", "it", why.partition("; `python ")[0])
    return " ".join(why.split()) or type(error).__name__
