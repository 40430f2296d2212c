"""`metrics.jsonl`, the record of a run's metrics, and `metrics.csv`, a table of its rows."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from deeper.files import json_text, replacement


class MetricsFile(Logger):
    """Appends one JSON object a row: step (optimizer steps done) and metrics."""

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.path = run / "metrics.jsonl"

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    def rewind(self, step: int) -> None:
        """Drop the rows after `step`, from which training continues."""
        if self.path.exists():
            kept = [json_text(row) + "\n" for row in rows(self.path) if row["step"] <= step]
            with replacement(self.path) as temporary:
                temporary.write_text("".join(kept))

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the config is in .hydra/ and in every checkpoint."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {"step": step} | {name: float(value) for name, value in metrics.items()}
        with self.path.open("a") as file:
            file.write(json_text(row) + "\n")


class MetricsTable(MetricsFile):
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
        found = rows(self.path)
        names = dict.fromkeys(name for row in found for name in row)
        with (
            replacement(self.path.with_suffix(".csv")) as temporary,
            temporary.open("w", newline="") as file,
        ):
            table = csv.DictWriter(file, [*names])
            table.writeheader()
            table.writerows(found)


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl without a last one that a crash cut short.

    Raises `ValueError` for a line that is no row.
    """
    found, lines = [], path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if not isinstance(row["step"], int):
                raise TypeError("step is no integer")
            found.append(row)
        except (ValueError, TypeError, KeyError):
            if number < len(lines):
                raise ValueError(
                    f"{path}, line {number}: not a row of metrics; remove the line, or start a new run"
                ) from None
    return found
