"""The most probable classes of pictures that a user names, in a stream: a million need no more memory."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, TextIO, cast

from deeper.files import FULL, beside, whole
from deeper.inference import inputs as pictures
from deeper.inference.inputs import Found, spelt
from deeper.inference.model import load
from deeper.inference.outputs import Json, Row, Table, Tsv
from deeper.inference.page import Page
from deeper.inference.predictor import Picture, Predictor
from deeper.inference.ticker import Ticker
from deeper.runs import select as networks
from deeper.training.precision import Precision

FORMS: dict[str, type[Table]] = {"table": Table, "tsv": Tsv, "json": Json, "html": Page}

BROKEN_PIPE = 141
"""What a shell says of a program whose reader, `head` for instance, has left."""


@dataclass
class Counts:
    good: int = 0
    bad: int = 0
    others: int = 0
    """Files in folders that are no pictures and do not claim to be."""

    @property
    def rest(self) -> str:
        return f"; other files in the folders: {self.others:,}" if self.others else ""

    def __str__(self) -> str:
        return f"pictures: {self.good:,} read, {self.bad:,} could not be read{self.rest}"


def predict(cfg: Any) -> Counts:
    """Report on every picture; `ValueError` where there is none."""
    out = _destination(cfg.out)
    form = _form(cfg.format and cfg.format.value, out)
    predictor = Predictor(
        load(networks.one(cfg), cfg.weights.value), cfg.device, Precision(cfg.precision)
    )
    report = form(f"by {predictor.trained.path}")
    counts, files = Counts(), list(cfg.files)
    stdin = cast(BufferedReader, sys.stdin.buffer) if sys.stdin else BytesIO()  # closed by <&-
    found = pictures.find(files, stdin, b"\0" if cfg.zero else b"\n")
    total = len(files) if all(map(os.path.isfile, files)) else None
    try:
        with _stream(out) as stream, Ticker(total, quiet=not out and sys.stdout.isatty()) as ticker:
            stream.write(report.start())
            try:
                for rows in _rows(found, predictor, cfg, report, ticker, counts):
                    stream.writelines(map(report.row, rows))
                    stream.flush()
            finally:
                stream.write(report.end())
                stream.flush()
            if counts.good + counts.bad == 0:
                raise ValueError(f"no pictures in {', '.join(map(spelt, files[:5]))}{counts.rest}")
    except KeyboardInterrupt:
        print(f"interrupted; {counts}{'; nothing is written' if out else ''}", file=sys.stderr)
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    if out or counts.bad or counts.others:
        where = f"; written to {spelt(str(out))}" if out else ""
        print(f"{counts}{where}", file=sys.stderr)
    return counts


def _rows(
    found: Iterable[Found],
    predictor: Predictor,
    cfg: Any,
    report: Table,
    ticker: Ticker,
    counts: Counts,
) -> Iterator[list[Row]]:
    """A batch at a time; what cannot be read is said at once."""
    batch: list[Picture] = []
    claimed = _claimed(found, counts)
    for seen in _ahead(
        claimed, lambda one: predictor.picture(one, report.thumbnails), 2 * cfg.batch_size
    ):
        if seen.pixels is None:
            counts.bad += 1
            ticker.advance()
            ticker.say(f"cannot read {spelt(seen.path)}: {spelt(seen.why)}")
            report.bad(seen.path, seen.why)
            continue
        batch.append(seen)
        if len(batch) == cfg.batch_size:
            yield _judged(batch, predictor, cfg.top, ticker, counts)
            batch = []
    if batch:
        yield _judged(batch, predictor, cfg.top, ticker, counts)


def _judged(
    batch: list[Picture], predictor: Predictor, top: int, ticker: Ticker, counts: Counts
) -> list[Row]:
    guesses = predictor.guesses([seen.pixels for seen in batch if seen.pixels is not None], top)
    counts.good += len(batch)
    ticker.advance(len(batch))
    return [Row(s.path, g, s.thumbnail) for s, g in zip(batch, guesses, strict=True)]


def _claimed(found: Iterable[Found], counts: Counts) -> Iterator[Found]:
    """What is a picture, or should be one."""
    for one in found:
        if one.why == "":
            counts.others += 1
        else:
            yield one


def _ahead(
    found: Iterable[Found], read: Callable[[Found], Picture], count: int
) -> Iterator[Picture]:
    """In order; threads read and decode up to `count` pictures ahead.

    A pipe is read here: of a thread that waits for one, Ctrl-C would have to wait too.
    """
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, 8))
    waiting: deque[Future[Picture]] = deque()
    try:
        for one in found:
            waiting.append(pool.submit(read, one) if os.path.isfile(one.path) else _done(read(one)))
            if len(waiting) >= count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _done(picture: Picture) -> Future[Picture]:
    future: Future[Picture] = Future()
    future.set_result(picture)
    return future


def _form(asked: str | None, out: Path | None) -> type[Table]:
    """As asked, else as the file is called, else a table."""
    ending = out.suffix.removeprefix(".").lower() if out else ""
    if asked is None and ending in ("", "txt"):
        asked = "table"
    if (form := asked or ending) not in FORMS:
        raise ValueError(
            f"out={out}: .{ending} is no form; let it end in .txt, .tsv, .json or .html, or say "
            f"format={'|'.join(FORMS)}"
        )
    return FORMS[form]


def _destination(out: str | None) -> Path | None:
    """Where a link leads, so that it stays one; refused before anything is computed."""
    if out is None:
        if sys.stdout is None:
            raise ValueError("standard output is closed; say out=FILE")
        return None
    path = Path(out).expanduser()
    if os.path.exists(path) and not path.is_file():
        raise ValueError(
            f"out={out}: not a plain file, and would be replaced; leave out= away and use >"
        )
    path = path.resolve()
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
    """UTF-8 whatever the locale; the bytes of names that are no UTF-8 come out as they are."""
    options: Any = {"mode": "w", "encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}
    if out is None:
        try:
            with open(sys.stdout.fileno(), closefd=False, **options) as stream:
                yield stream
        except OSError as error:
            if error.errno in FULL:
                raise ValueError(f"standard output: {error.strerror}; what it has is cut") from None
            raise
        return
    with whole(out) as temporary, open(temporary, **options) as stream:
        yield stream
