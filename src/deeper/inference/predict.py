"""Predicts the classes of image files in a stream, whose memory does not grow with their number."""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from deeper.data.classes import words
from deeper.files import beside, whole
from deeper.inference.inputs import find_images, read_image, reason
from deeper.inference.model import Trained, load
from deeper.inference.outputs import FORMATS, Guess, Prediction, TableFormat
from deeper.reporting.table import printable
from deeper.runs import select
from deeper.training.precision import Precision


def predict(cfg: Any) -> tuple[int, int]:
    """Write the predictions of all images; returns how many succeeded and how many failed.

    `ValueError` where there is no image at all.
    """
    out = _destination(cfg.out)
    output = _output(cfg.format and cfg.format.value, out)
    predictor = Predictor(
        load(select.one(cfg), cfg.weights.value), cfg.device, Precision(cfg.precision), cfg.top
    )
    paths = find_images(cfg.files, sys.stdin.buffer, b"\0" if cfg.zero else b"\n")
    good = bad = 0
    with _stream(out) as stream, _progress(shown=out is not None) as bar:
        stream.write(output.head)
        try:
            while batch := list(islice(paths, cfg.batch_size)):
                for found in predictor.predictions(batch):
                    if found.guesses:
                        good += 1
                        stream.write(output.format(found))
                    else:
                        bad += 1
                        stream.write(output.unreadable(found))
                        why = f"cannot read {printable(found.file)}: {printable(found.why)}"
                        print(why, file=sys.stderr)
                stream.flush()
                bar.advance(bar.task_ids[0], len(batch))
        finally:  # what is written is well-formed after Ctrl-C too
            stream.write(output.end)
            stream.flush()
            print(f"images: {good:,} read, {bad:,} could not be read", file=sys.stderr)
        if good + bad == 0:
            raise ValueError(f"no images in {', '.join(map(printable, cfg.files[:5]))}")
    return good, bad


class Predictor:
    """A trained network on a device, in the precision that a training would have there."""

    def __init__(self, trained: Trained, device: str, precision: Any, top: int) -> None:
        self.trained, self.device, self.top = trained, _device(device), top
        chosen = precision.resolve(self.device.type)
        chosen.apply()
        self._half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(chosen.name)
        trained.net.to(self.device)
        trained.preprocess.to(self.device)
        self._threads = ThreadPoolExecutor(8)

    def predictions(self, paths: Sequence[str]) -> Iterator[Prediction]:
        """The `top` most probable classes of each image, in order; a failed one has a reason instead."""
        loaded = [*self._threads.map(self._load_image, paths)]
        rows = iter(self._probabilities([view for _, view in loaded if view is not None]))
        names = self.trained.classes
        for prediction, view in loaded:
            if view is None:
                yield prediction
            elif not (p := next(rows)).isfinite().all():
                yield prediction._replace(why="the network's output is not finite")
            else:
                best = p.topk(min(self.top, len(names)))
                pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
                guesses = [Guess(names[i], words(names[i]), value) for i, value in pairs]
                yield prediction._replace(guesses=guesses)

    def _load_image(self, path: str) -> tuple[Prediction, Tensor | None]:
        """A prediction to be made, and the image as the network takes it, uint8 [3, S, S]."""
        try:
            image = read_image(path)
            return Prediction(path, image), self.trained.view(image)
        except Exception as error:  # one bad file must not stop the others
            return Prediction(path, why=reason(error, path)), None

    @torch.inference_mode()
    def _probabilities(self, views: list[Tensor]) -> Tensor:
        """float32 [B, K], on the CPU."""
        if not views:
            return torch.empty(0)
        images = torch.stack(views).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self._half, enabled=self._half is not None):
            logits = self.trained(images.to(self.device))
        return logits.float().softmax(1).cpu()


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


def _destination(out: str | None) -> Path | None:
    """The file to replace, resolved so that a link stays one; refused before anything is computed."""
    if out is None:
        return None
    path = Path(out).expanduser().resolve()
    if path.exists() and not path.is_file():
        raise ValueError(f"out={out}: not a plain file; leave out= away and redirect with >")
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


def _progress(shown: bool) -> Progress:
    """A count of the images on standard error, where that is a terminal."""
    columns = (TextColumn("images"), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True)
    bar.add_task("", total=None)
    return bar
