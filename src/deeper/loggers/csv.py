"""`metrics.csv`: the rows of metrics.jsonl as one table."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from deeper.files import replacement
from deeper.loggers import jsonl


class MetricsTable(Logger):
    """Writes `save_dir`/metrics.csv anew when a training or a test ends, however it ends."""

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.run = Path(save_dir)

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the config is in .hydra/ and in every checkpoint."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Nothing: the rows are in metrics.jsonl."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if not (self.run / jsonl.FILE).exists():
            return
        rows = jsonl.rows(self.run / jsonl.FILE)
        names = dict.fromkeys(name for row in rows for name in row)
        with (
            replacement(self.run / "metrics.csv") as temporary,
            temporary.open("w", newline="") as file,
        ):
            table = csv.DictWriter(file, [*names])
            table.writeheader()
            table.writerows(rows)
