"""`metrics.jsonl`, the record of a run's metrics, and `metrics.csv`, a table of its rows."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from deeper.checkpoint import DiskFull
from deeper.files import FULL, json_text, replacement, sync, whole
from deeper.runs.metrics import FILE, rows


class _OfRun(Logger):
    """A logger that knows its run by the directory."""

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.path = run / FILE

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the config is in .hydra/ and in every checkpoint."""


class MetricsFile(_OfRun):
    """Appends one JSON object a row: step (optimizer steps done) and metrics."""

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        self.rows_written = len(rows(run))

    def rewind(self, count: int) -> None:
        """Keep the first `count` rows, those of the checkpoint from which training continues.

        Raises `ValueError` where some are missing.
        """
        kept = rows(self.path.parent)[:count]
        if len(kept) < count:
            raise ValueError(
                f"{self.path}: holds {len(kept)} of the {count} rows that were logged before the "
                f"checkpoint; restore the file and continue, or start a new run with "
                f"model.pretrained={self.path.parent}"
            )
        if self.path.exists():
            with whole(self.path) as temporary:
                temporary.write_text("".join(json_text(row) + "\n" for row in kept))
        self.rows_written = count

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Raises `DiskFull`: unlike its mirrors, this file ends a run that it cannot record."""
        row = {"step": step} | {name: float(value) for name, value in metrics.items()}
        try:
            with self.path.open("a") as file:
                file.write(json_text(row) + "\n")
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise DiskFull(self.path, os.strerror(error.errno)) from error
        self.rows_written += 1

    def sync(self) -> int:
        """Bring all rows to the disk, and return how many there are."""
        if self.path.exists():
            sync(self.path)
        return self.rows_written


class MetricsTable(_OfRun):
    """Writes metrics.csv anew from metrics.jsonl when a training or a test ends, however it ends."""

    def __init__(self, run: str) -> None:
        super().__init__(Path(run))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Nothing: `MetricsFile` writes the row."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if not self.path.exists():
            return
        found = rows(self.path.parent)
        names = dict.fromkeys(name for row in found for name in row)
        with (
            replacement(self.path.with_suffix(".csv")) as temporary,
            temporary.open("w", newline="") as file,
        ):
            table = csv.DictWriter(file, [*names])
            table.writeheader()
            table.writerows(found)
