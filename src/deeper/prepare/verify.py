"""Opens images, and makes them smaller on request: what `prepare.py` does in its worker processes."""

import hashlib
import io
import multiprocessing
import os
import re
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from deeper.data.images.encoded import FORMATS, Encoded
from deeper.data.images.stored import FileImages, StoredImages
from deeper.data.manifest import OK, Manifest, name_string

IMAGES = 256
"""Images that a worker process verifies at a time: about a second of a core."""

THREADS = 8
"""Threads that look at files: what costs time there is the answer of a disk or a network."""

LONGEST = 65_500
"""Pixels of the longest side that libjpeg writes."""

Bytes = bytes | memoryview
Row = dict[str, Any]
"""A row of the manifest; with `image`, the bytes to pack, where images are packed."""


@dataclass(frozen=True)
class Resize:
    """Makes the shorter side `size` pixels, where it is longer, as JPEG of `quality` (1..100)."""

    size: int
    quality: int

    def __call__(self, pixels: NDArray[np.uint8], data: Bytes) -> Bytes:
        """Smaller images keep their bytes. Lanczos over the whole image, 4:2:0 as photos mostly are,
        and a restart marker after each row of blocks: 55 bytes an image, for which a crop need not
        decode other rows (`deeper.data.images.strip`).
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


def original(pixels: NDArray[np.uint8], data: Bytes) -> Bytes:
    """Packs the image's own bytes."""
    return bytes(data)


@dataclass(frozen=True)
class Verifier(Dataset[list[Row]]):
    """The manifest's rows of consecutive images of a split."""

    split: str
    images: StoredImages
    classes: list[str]
    pack: Callable[[NDArray[np.uint8], Bytes], Bytes] | None
    """The bytes to pack of an image's pixels and bytes; None where nothing is packed."""
    earlier: Path | None
    """The manifest of an earlier run, for images that have not changed since."""

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapped manifest: each worker process maps it for itself."""
        return {name: value for name, value in vars(self).items() if name != "_earlier_rows"}

    @cached_property
    def _earlier_rows(self) -> Any:
        return Manifest.read(self.earlier).rows(self.split) if self.earlier else None

    def __getitem__(self, places: range) -> list[Row]:
        listed = listing(self.images, places, threads=1)
        earlier: list[Row] = []
        if self.pack is None and self._earlier_rows is not None:
            earlier = self._earlier_rows.slice(places.start, len(places)).to_pylist()
        rows = []
        for number, (index, now) in enumerate(zip(places, listed, strict=True)):
            row = earlier[number] if number < len(earlier) else {}
            if row.get("status") == OK and now.items() <= row.items():
                rows.append(row | {"class": self.classes[now["label"]]})
            else:
                rows.append(self.verified(index, now))
        return rows

    def verified(self, index: int, listed: Row) -> Row:
        """The row of one image, which is opened and decoded."""
        row = listed | {"split": self.split, "class": self.classes[listed["label"]]}
        row |= {"sha256": bytes(32), "width": 0, "height": 0, "mode": "", "status": OK}
        row.setdefault("bytes", 0)
        if self.pack is not None:
            row["image"] = None
        try:
            data = self.images.read(index)
            row |= {"bytes": len(data), "sha256": hashlib.sha256(data).digest()}
            encoded = Encoded(data, listed["name"])
            width, height = encoded.size
            pixels, _ = encoded.pixels()
            row |= {"width": width, "height": height, "mode": _mode(data)}
            if self.pack is not None:
                row["image"] = bytes(self.pack(pixels, data))
        except (OSError, ValueError) as error:
            row["status"] = _reason(error, self.images.name(index))
        return row


def verify(verifier: Verifier, start: int, workers: int) -> Iterator[list[Row]]:
    """The rows of all images from `start` on, in order, by `IMAGES`; `workers=0` is this process alone."""
    stop = len(verifier.images)
    order = [range(i, min(i + IMAGES, stop)) for i in range(start, stop, IMAGES)]
    workers = min(workers, len(order)) if len(order) > 1 else 0  # no process for a single batch
    loader: DataLoader[Any] = DataLoader(
        verifier,
        batch_size=None,
        sampler=order,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_end_with_parent,
        multiprocessing_context="spawn" if workers else None,  # a fork would copy locks of Arrow
    )
    # Workers inherit that Ctrl-C is blocked: this process ends them, and they print no tracebacks.
    resource_tracker.ensure_running()  # its start, with the first worker, would unblock Ctrl-C
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        batches = iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise ValueError(
            "a worker process was killed, by lack of memory most likely; run the same command again "
            f"with fewer, e.g. workers={max(workers // 2, 1)}: it goes on where it was"
        ) from error


def _as_it_is(rows: list[Row]) -> list[Row]:
    return rows


def _end_with_parent(worker: int) -> None:
    """A worker whose parent was killed would wait for ever to hand over its rows."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None  # noqa: S101
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def listing(images: StoredImages, places: range, threads: int = THREADS) -> list[Row]:
    """What is known of images before they are opened: name, label, `changed`, and bytes where it is.

    `changed` is the ctime of their file: one that was downloaded again may have the old size and mtime.
    """
    paths = [images.path(i) for i in places]
    distinct = list(dict.fromkeys(paths))
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            stamps = dict(zip(distinct, pool.map(_stamp, distinct), strict=True))
    else:
        stamps = {path: _stamp(path) for path in distinct}
    sizes = getattr(images, "sizes", None)  # of many images in one file
    found = []
    for i, path in zip(places, paths, strict=True):
        row = {"name": name_string(images.name(i)), "label": int(images.labels[i])}
        size, row["changed"] = stamps[path]
        if sizes is not None:
            row["bytes"] = int(sizes[i])
        elif isinstance(images, FileImages):
            row["bytes"] = size
        found.append(row)
    return found


def _stamp(path: str) -> tuple[int, int]:
    """Bytes and ctime in ns of a file; 0 for one that is not there."""
    try:
        status = os.stat(path)
        return status.st_size, status.st_ctime_ns
    except OSError:
        return 0, 0


def _mode(data: Bytes) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(Image.open(io.BytesIO(data), formats=FORMATS).mode)


def _reason(error: Exception, name: str) -> str:
    """Why an image cannot be read, in the same words in every run and wherever the root lies."""
    for of_system in (error, error.__cause__):
        if isinstance(of_system, OSError) and of_system.strerror:
            return of_system.strerror  # its text has the path
    why = str(error).partition(f"{name}: ")[2] or str(error)
    why = re.sub(r"<\S+ object at 0x\w+>", "it", why.partition("; `python ")[0])
    return " ".join(why.split()) or type(error).__name__
