"""Predicts the classes of image files in a stream, whose memory does not grow with their number."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import torch
from PIL import Image
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from deeper.data.classes import words
from deeper.data.images.encoded import Encoded
from deeper.files import beside, whole
from deeper.inference.inputs import find_images, read_image, reason
from deeper.inference.model import Trained, load
from deeper.inference.outputs import FORMATS, Guess, Prediction, TableFormat
from deeper.reporting.table import printable
from deeper.runs import select
from deeper.training.precision import Precision

THUMBNAIL = 320
"""Pixels of the longer side."""


class Predictor:
    """A trained network on a device, in the precision that a training would have there."""

    def __init__(self, trained: Trained, device: str, precision: Any) -> None:
        self.trained, self.device = trained, _device(device)
        chosen = precision.resolve(self.device.type)
        chosen.apply()
        self._half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(chosen.name)
        trained.net.to(self.device)
        trained.preprocess.to(self.device)

    @torch.inference_mode()
    def guesses(self, views: list[Tensor], top: int) -> list[list[Guess]]:
        """The `top` most probable classes of each image; none where the output is not finite."""
        if not views:
            return []
        images = torch.stack(views).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self._half, enabled=self._half is not None):
            logits = self.trained(images.to(self.device))
        names, p = self.trained.classes, logits.float().softmax(1).cpu()
        best = p.topk(min(top, len(names)))
        rows = zip(p, best.indices.tolist(), best.values.tolist(), strict=True)
        return [
            [
                Guess(names[i], words(names[i]), value)
                for i, value in zip(places, values, strict=True)
            ]
            if row.isfinite().all()
            else []
            for row, places, values in rows
        ]


def predict(cfg: Any) -> tuple[int, int]:
    """Write the predictions of all images; returns how many succeeded and how many failed.

    `ValueError` where there is no image at all.
    """
    out = _destination(cfg.out)
    output = _output(cfg.format and cfg.format.value, out)
    predictor = Predictor(
        load(select.one(cfg), cfg.weights.value), cfg.device, Precision(cfg.precision)
    )
    files = list(cfg.files)
    paths = find_images(files, sys.stdin.buffer, b"\0" if cfg.zero else b"\n")
    images = _read_ahead(
        paths, lambda path: _load_image(path, predictor.trained, output), 2 * cfg.batch_size
    )
    good = bad = 0
    with _stream(out) as stream, _progress(files, quiet=not out and sys.stdout.isatty()) as bar:
        stream.write(output.head)
        try:
            for found in _predictions(images, predictor, cfg.batch_size, cfg.top):
                if found.guesses:
                    good += 1
                    stream.write(output.format(found))
                else:
                    bad += 1
                    stream.write(output.unreadable(found))
                    message = f"cannot read {printable(found.file)}: {printable(found.why)}"
                    bar.console.print(message, markup=False, highlight=False, soft_wrap=True)
                stream.flush()
                bar.advance(bar.task_ids[0])
        finally:  # what is written is well-formed after Ctrl-C too
            stream.write(output.end)
            stream.flush()
            print(f"images: {good:,} read, {bad:,} could not be read", file=sys.stderr)
        if good + bad == 0:
            raise ValueError(f"no images in {', '.join(map(printable, files[:5]))}")
    return good, bad


Loaded = tuple[Prediction, Tensor | None]
"""A prediction to be made, and the image as the network takes it, uint8 [3, S, S]."""


def _predictions(
    images: Iterator[Loaded], predictor: Predictor, batch_size: int, top: int
) -> Iterator[Prediction]:
    """In the order of the images, computed a batch at a time; a failed one has no guesses but a reason."""
    while batch := list(islice(images, batch_size)):
        guesses = iter(predictor.guesses([view for _, view in batch if view is not None], top))
        for prediction, view in batch:
            if view is None:
                yield prediction
            else:
                why = "the network's output is not finite"
                yield prediction._replace(guesses=next(guesses), why=why)


def _load_image(path: str, trained: Trained, output: TableFormat) -> Loaded:
    """Runs in a thread."""
    try:
        image = read_image(path)
        thumbnail = _thumbnail(image) if output.thumbnails else b""
        return Prediction(path, thumbnail=thumbnail), trained.view(image)
    except Exception as error:  # one bad file must not stop the others
        return Prediction(path, why=reason(error, path)), None


def _read_ahead(
    paths: Iterable[str], read: Callable[[str], Loaded], count: int
) -> Iterator[Loaded]:
    """In order; threads read and decode up to `count` images ahead."""
    waiting: deque[Future[Loaded]] = deque()
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        for path in paths:
            waiting.append(pool.submit(read, path))
            if len(waiting) >= count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _thumbnail(image: Encoded) -> bytes:
    """JPEG, decoded no larger than needed."""
    width, height = image.size
    ratio = THUMBNAIL / max(width, height)
    wanted = max(1, int(width * ratio)), max(1, int(height * ratio))
    small = Image.fromarray(image.pixels(size=wanted)[0])
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = BytesIO()
    small.save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _device(name: str) -> torch.device:
    """auto is CUDA where there is a GPU, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"device={name}: choose auto, cpu, cuda or cuda:<number>")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={name}: this machine has {torch.cuda.device_count()} CUDA GPUs; use device=auto"
        )
    return device


def _output(name: str | None, out: Path | None) -> TableFormat:
    """The format asked for, else the one that the file is named as, else a table."""
    suffix = out.suffix.removeprefix(".").lower() if out else ""
    name = name or ("table" if suffix in ("", "txt") else suffix)
    if name not in FORMATS:
        raise ValueError(
            f"out={out}: no output format is called .{suffix}; let the file end in .txt, .tsv, .json "
            f"or .html, or pass format={'|'.join(FORMATS)}"
        )
    return FORMATS[name]()


def _destination(out: str | None) -> Path | None:
    """The file to replace, resolved so that a link stays one; refused before anything is computed."""
    if out is None:
        return None
    path = Path(out).expanduser().resolve()
    if path.exists() and not path.is_file():
        raise ValueError(f"out={out}: not a plain file; leave out= away and redirect with >")
    if not path.parent.is_dir():
        raise ValueError(f"out={out}: no folder {path.parent}; make it, or choose another")
    try:
        with beside(path) as trial:
            trial.touch()
    except OSError as error:
        raise ValueError(f"out={out}: {error.strerror} in {path.parent}; choose another") from None
    return path


@contextmanager
def _stream(out: Path | None) -> Iterator[TextIO]:
    """UTF-8 in any locale; bytes of names that are not UTF-8 are written as they are."""
    options: Any = {"mode": "w", "encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}
    if out is None:
        with open(sys.stdout.fileno(), closefd=False, **options) as stream:
            yield stream
    else:
        with whole(out) as temporary, open(temporary, **options) as stream:
            yield stream


def _progress(files: list[str], quiet: bool) -> Progress:
    """A progress bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("images"), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(
        *columns, console=console, disable=quiet or not console.is_terminal, transient=True
    )
    bar.add_task("", total=len(files) if all(map(os.path.isfile, files)) else None)
    return bar
