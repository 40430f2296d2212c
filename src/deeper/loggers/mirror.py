"""Mirrors of metrics.jsonl: none ends a training, and a resumed run brings them to its rows."""

import functools
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger

from deeper.loggers.jsonl import MetricsFile
from deeper.loggers.media import Medium, media
from deeper.runs import metrics

GUARDED = (
    "experiment", "log_metrics", "log_hyperparams", "log_graph", "save", "finalize",
    "log_facts", "log_results", "log_medium", "rebuild",
)  # fmt: skip
"""Methods of loggers: Lightning's, and four that a mirror may have.

`log_facts` gets the record of a run that starts, `log_results` the one of a run that ends.
"""


class Row(NamedTuple):
    step: int
    metrics: dict[str, float]
    media: list[Medium]
    """What was drawn after the row before."""


def mirrors(loggers: Mapping[str, Logger], run: Path) -> list[Logger]:
    """The same loggers, by config key; what one raises is printed, and ends it in place of the run.

    Each gets a subclass of its own class, so that `isinstance` finds what it found before.
    """
    for key, logger in loggers.items():
        kind = type(logger)
        names = [name for name in GUARDED if hasattr(kind, name)]
        guarded = {name: _guarded(getattr(kind, name), kind, key, run) for name in names}
        logger.__class__ = type(kind.__name__, (kind,), guarded | {"is_off": False})
    return [*loggers.values()]


def _guarded(call: Any, kind: type[Logger], key: str, run: Path) -> Any:
    if isinstance(call, property):
        return property(_guarded(call.fget, kind, key, run))

    @functools.wraps(call)
    def attempt(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            if not self.is_off:
                return call(self, *args, **kwargs)
        except Exception as error:
            if not self.is_off:
                self.is_off = True
                why = " ".join(f"{type(error).__name__} {error}".split())
                print(
                    f"logger.{key} is off for the rest of this run ({why}); metrics.jsonl has every "
                    f"row: python src/runs.py send {run} logger={key}",
                    flush=True,
                )
                with suppress(Exception):
                    kind.finalize(self, "failed")
        return DummyLogger().experiment

    return attempt


def log_facts(loggers: Iterable[Logger], record: Mapping[str, Any]) -> None:
    _each(loggers, "log_facts", record)


def log_results(loggers: Iterable[Logger], record: Mapping[str, Any]) -> None:
    _each(loggers, "log_results", record)


def rewind(loggers: Iterable[Logger], count: int, step: int) -> None:
    """Keep the first `count` rows of metrics.jsonl and the media up to `step`; bring mirrors to them."""
    for file in [logger for logger in loggers if isinstance(logger, MetricsFile)]:
        file.rewind(count)
        run = file.path.parent
        for medium in [m for m in media(run) if m.step > step]:
            medium.file.unlink()
        rebuild(loggers, run)


def rebuild(loggers: Iterable[Logger], run: Path) -> None:
    """Bring the mirrors that can be, those with a method `rebuild(rows)`, to what `run` has."""
    drawn, rows = media(run), []
    for found in metrics.rows(run):
        step = found.pop("step")
        values = {k: math.nan if v is None else v for k, v in found.items()}
        rows.append(Row(step, values, [m for m in drawn if m.step <= step]))
        drawn = [m for m in drawn if m.step > step]
    rebuilt = [logger for logger in loggers if hasattr(logger, "rebuild")]
    _each(rebuilt, "rebuild", rows)
    for medium in drawn:  # of the row to come
        _each(rebuilt, "log_medium", medium)


def _each(loggers: Iterable[Any], method: str, argument: Any) -> None:
    """Call a method of the loggers that have it."""
    for logger in loggers:
        if hasattr(logger, method):
            getattr(logger, method)(argument)


def replay(logger: Any, rows: Iterable[Row]) -> None:
    for step, values, drawn in rows:
        for medium in drawn:
            logger.log_medium(medium)
        logger.log_metrics(values, step)


def send(loggers: Iterable[Any], run: Path, record: Mapping[str, Any]) -> None:
    """Write a run anew, whole, from its directory. Raises what a logger raises."""
    for logger in loggers:
        log_facts([logger], record)
        rebuild([logger], run)
        if "results" in record:
            log_results([logger], record)
        logger.finalize("success")
