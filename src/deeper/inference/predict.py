"""Predicts the classes of image files in a stream, whose memory does not grow with their number."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from deeper.data.classes import words
from deeper.data.dataset import Pipeline
from deeper.data.images.encoded import reason
from deeper.files import whole
from deeper.inference.inputs import find_images, read_image
from deeper.inference.model import Trained, load
from deeper.inference.outputs import FORMATS, Guess, Prediction, TableFormat
from deeper.runs import select
from deeper.table import printable
from deeper.training.precision import accelerator_for, resolved_precision


def predict(cfg: Any) -> tuple[int, int]:
    """Write the predictions of all images; returns how many succeeded and how many failed.

    `ValueError` where there is no image at all.
    """
    out = Path(cfg.out).expanduser().resolve() if cfg.out else None  # so that a link stays one
    output = _output(cfg.format and cfg.format.value, out)
    trained, autocast = _network(cfg)
    paths = find_images(cfg.files, sys.stdin.buffer, b"\0" if cfg.zero else b"\n")
    good = bad = 0
    with _stream(out) as stream, autocast:
        stream.write(output.head)
        try:
            for batch in _batches(paths, cfg.batch_size, shown=out is not None):
                for found in _predictions(batch, trained, cfg.top):
                    if found.guesses:
                        good += 1
                        stream.write(output.format(found))
                    else:
                        bad += 1
                        stream.write(output.unreadable(found))
                        why = f"cannot read {printable(found.file)}: {printable(found.why)}"
                        print(why, file=sys.stderr)
                stream.flush()
        finally:  # what is written is well-formed after Ctrl-C too
            stream.write(output.end)
            stream.flush()
            print(f"images: {good:,} read, {bad:,} could not be read", file=sys.stderr)
        if good + bad == 0:
            raise ValueError(f"no images in {', '.join(map(printable, cfg.files[:5]))}")
    return good, bad


def _network(cfg: Any) -> tuple[Trained, torch.autocast]:
    """The network on its device, and the number format that a training would have there."""
    device = _device(cfg.device)
    trained = load(select.one(cfg), cfg.weights.value).to(device)
    precision = resolved_precision(cfg.precision, accelerator_for(device.type))
    precision.apply()
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision.name)
    return trained, torch.autocast(device.type, half, enabled=half is not None)


def _batches(paths: Iterator[str], size: int, shown: bool) -> Iterable[list[str]]:
    """With a count of the batches on standard error, where that is a terminal."""
    batches = iter(lambda: list(islice(paths, size)), [])
    console = Console(stderr=True)
    return track(batches, "batches", console=console, transient=True, disable=not shown)


def _predictions(paths: Sequence[str], trained: Trained, top: int) -> Iterator[Prediction]:
    """The `top` most probable classes of each image, in order; a failed one has a reason instead."""
    with ThreadPoolExecutor(8) as threads:
        loaded = [*threads.map(partial(_load_image, view=trained.view), paths)]
    views = [view for _, view in loaded if view is not None]
    rows = iter(trained.softmax(torch.stack(views)) if views else ())
    names = trained.classes
    for prediction, view in loaded:
        if view is None:
            yield prediction
        elif not (p := next(rows)).isfinite().all():
            yield prediction._replace(why="the network's output is not finite")
        else:
            best = p.topk(min(top, len(names)))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            yield prediction._replace(
                guesses=[Guess(names[i], words(names[i]), p) for i, p in pairs]
            )


def _load_image(path: str, view: Pipeline) -> tuple[Prediction, Tensor | None]:
    """A prediction to be made, and the image as the network takes it, uint8 [3, S, S]."""
    try:
        image = read_image(path)
        return Prediction(path, image), view(image)
    except Exception as error:  # one bad file must not stop the others
        return Prediction(path, why=reason(error, path)), None


def _device(name: str) -> torch.device:
    """auto is CUDA where there is a GPU, else the CPU."""
    auto = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=auto if name == "auto" else name).device
    except (RuntimeError, AssertionError) as error:
        why = str(error).partition("\n")[0]
        raise ValueError(f"device={name}: {why}; choose auto, cpu, cuda or cuda:<n>") from error


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


@contextmanager
def _stream(out: Path | None) -> Iterator[TextIO]:
    """UTF-8 in any locale; bytes of names that are not UTF-8 are written as they are."""
    options: Any = {"mode": "w", "encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}
    if out is None:
        with open(sys.stdout.fileno(), closefd=False, **options) as stream:
            yield stream
        return
    if out.exists() and not out.is_file():
        raise ValueError(f"out={out}: not a plain file; leave out= away and redirect with >")
    with whole(out) as temporary:
        try:
            stream = open(temporary, **options)  # noqa: SIM115
        except OSError as error:
            raise ValueError(f"out={out}: {error.strerror}; choose another file") from error
        with stream:
            yield stream
