"""Mirrors of metrics.jsonl: none ends a training, and a resumed run brings them to its rows."""

import functools
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger

from deeper.loggers.jsonl import MetricsFile

GUARDED = (
    "experiment", "log_metrics", "log_hyperparams", "log_graph", "save", "finalize", "rebuild",
)  # fmt: skip


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
                    f"row, and resume={run} writes csv, TensorBoard and W&B anew",
                    flush=True,
                )
                with suppress(Exception):
                    kind.finalize(self, "failed")
        return DummyLogger().experiment

    return attempt


def rewind(loggers: Iterable[Logger], count: int) -> None:
    """Keep the first `count` rows of metrics.jsonl, and bring the mirrors to them.

    Those that can be have a method `rebuild(rows)`, which gets pairs of a step and its metrics.
    """
    for file in [logger for logger in loggers if isinstance(logger, MetricsFile)]:
        kept = file.rewind(count)
        steps = [row.pop("step") for row in kept]
        metrics = [{k: math.nan if v is None else v for k, v in row.items()} for row in kept]
        for logger in loggers:
            if hasattr(logger, "rebuild"):
                logger.rebuild([*zip(steps, metrics, strict=True)])
