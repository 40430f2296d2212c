"""TensorBoard, with one point for each value of metrics.jsonl however often a run was killed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, whose event files a resumed run writes anew."""

    @rank_zero_only
    def rebuild(self, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Replace all event files by one with these rows (step, metrics)."""
        self.experiment.close()  # it opens a new file with the next point
        for file in Path(self.log_dir).glob("events.out.tfevents.*"):
            file.unlink()
        for step, metrics in rows:
            self.log_metrics(metrics, step)
        self.save()
