"""`metrics.jsonl`, the record of a run's metrics; other loggers mirror it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from deeper.files import replacement


class MetricsFile(Logger):
    """Appends one JSON object a row: step, epoch, then metrics."""

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
        """Drop rows after `step`, and one that a crash cut short: training goes on from there."""
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if row["step"] <= step:
                kept.append(line + "\n")
        with replacement(self.path) as temporary:
            temporary.write_text("".join(kept))

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The config lies in .hydra/ and in every checkpoint."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {"step": step} | {name: float(value) for name, value in metrics.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
