"""Opens images, and makes them smaller on request: what `prepare.py` does in its worker processes."""

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from deeper.data.images.encoded import Encoded, reason
from deeper.data.images.stored import StoredImages
from deeper.data.manifest import OK, SCHEMA, name_string, readable
from deeper.processes import signals_held, start_worker

IMAGES = 256
"""Images that a worker process verifies at a time: about a second of a core."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Resize:
    """Makes the shorter side `size` pixels, where it is longer, as JPEG of `quality` (1..100)."""

    size: int
    quality: int

    def __call__(self, pixels: NDArray[np.uint8], data: bytes) -> bytes:
        """Smaller images keep their bytes. Lanczos over the whole image, 4:2:0 as photos mostly are,
        and restart markers, so that a crop need not decode what is around it
        (`deeper.data.images.region`): 2 % more bytes than without.
        """
        height, width = pixels.shape[:2]
        scale = self.size / min(height, width)
        if scale >= 1:
            return data
        to = (max(round(width * scale), self.size), max(round(height * scale), self.size))
        small = Image.fromarray(pixels).resize(to, Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        small.save(
            stream, "JPEG", quality=self.quality, subsampling="4:2:0",
            restart_marker_blocks=restart_interval(to[0]),
        )  # fmt: skip
        return stream.getvalue()


def restart_interval(width: int) -> int:
    """Blocks between restart markers, at most 4, so that a row of blocks of 16 pixels ends with one."""
    blocks = -(-width // 16)
    return next(interval for interval in (4, 3, 2, 1) if blocks % interval == 0)


@dataclass(frozen=True)
class Verifier(Dataset[pa.Table]):
    """The manifest's rows of consecutive images of a split, with `packs` the bytes to pack as well."""

    split: str
    images: StoredImages
    classes: list[str]
    packs: bool = False
    resize: Resize | None = None

    def __getitem__(self, places: range) -> pa.Table:
        schema = SCHEMA.append(pa.field("image", pa.large_binary())) if self.packs else SCHEMA
        return pa.Table.from_pylist([self.row(index) for index in places], schema)

    def row(self, index: int) -> Row:
        """The row of one image, which is opened and decoded."""
        name, label = self.images.name(index), int(self.images.labels[index])
        row = self.listed(index) | {"split": self.split, "label": label}
        row |= {"class": self.classes[label], "bytes": 0, "sha256": bytes(32)}
        row |= {"width": 0, "height": 0, "status": OK}
        try:
            data = self.images.read(index)
            row |= {"bytes": len(data), "sha256": hashlib.sha256(data).digest()}
            pixels, _ = Encoded(data, name).pixels()
            row["height"], row["width"] = pixels.shape[:2]
            row["image"] = self.resize(pixels, data) if self.resize else data
        except (OSError, ValueError) as error:
            row["status"] = reason(error, name)
        return row

    def listed(self, index: int) -> Row:
        """The name of an image and the ctime in ns of its file, 0 for one that is not there.

        A file that was downloaded again may have the old size and mtime.
        """
        try:
            changed = os.stat(self.images.path(index)).st_ctime_ns
        except OSError:
            changed = 0
        return {"name": name_string(self.images.name(index)), "changed": changed}

    def holds(self, rows: pa.Table, start: int) -> bool:
        """Whether these are the rows from `start` on still, and what was unreadable is so, too."""
        places = range(start, min(start + len(rows), len(self.images)))
        if rows.select(["name", "changed"]).to_pylist() != [self.listed(i) for i in places]:
            return False
        bad = start + np.flatnonzero(~readable(rows))
        return all(self.row(int(index))["status"] != OK for index in bad)


def verify(verifier: Verifier, start: int, workers: int) -> Iterator[pa.Table]:
    """The rows of all images from `start` on, in order, by `IMAGES`; `workers=0` is this process alone."""
    stop = len(verifier.images)
    order = [range(i, min(i + IMAGES, stop)) for i in range(start, stop, IMAGES)]
    workers = min(workers, len(order)) if len(order) > 1 else 0  # no process for a single batch
    loader: DataLoader[Any] = DataLoader(
        verifier,
        batch_size=None,
        sampler=order,
        num_workers=workers,
        worker_init_fn=start_worker,
        multiprocessing_context="spawn" if workers else None,  # a fork would copy locks of Arrow
    )
    resource_tracker.ensure_running()  # its start, with the first worker, would unblock Ctrl-C
    with signals_held():  # until `start_worker` has begun in each worker
        batches = iter(loader)
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise ValueError(
            "a worker process was killed, by lack of memory most likely; run the same command again "
            f"with fewer, e.g. workers={max(workers // 2, 1)}: it continues where it was"
        ) from error
