"""TensorBoard, with one point for each value of metrics.jsonl however often a run was killed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from torch.utils.tensorboard.summary import hparams

from deeper.loggers import facts
from deeper.loggers.media import Medium, histograms
from deeper.loggers.mirror import Row, replay


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, whose event files a resumed run writes anew.

    Its tab HPARAMS shows what was chosen, and sorts runs by the objective of the best checkpoint.
    """

    _record: Mapping[str, Any] | None = None

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: of all settings, `log_facts` writes those that were chosen."""

    @rank_zero_only
    def log_facts(self, record: Mapping[str, Any]) -> None:
        self._record, objective = record, record["config"]["objective"]
        names = (f"best/{objective}", objective, "test/top1")
        parts = hparams(facts.chosen(record), dict.fromkeys(names, 0.0))  # type: ignore[no-untyped-call]
        for part in parts:
            self.experiment._get_file_writer().add_summary(part)

    @rank_zero_only
    def log_results(self, record: Mapping[str, Any]) -> None:
        self.log_metrics(facts.summary(record["results"]))
        self.save()

    @rank_zero_only
    def log_medium(self, medium: Medium) -> None:
        if medium.file.suffix == ".png":
            pixels = np.asarray(Image.open(medium.file).convert("RGB"))
            self.experiment.add_image(medium.key, pixels, medium.step, dataformats="HWC")
            return
        for key, counts, edges in histograms(medium):
            middles = (edges[1:] + edges[:-1]) / 2
            sums = counts.sum(), counts @ middles, counts @ middles**2
            ends = edges[0], edges[-1]
            self.experiment.add_histogram_raw(key, *ends, *sums, edges[1:], counts, medium.step)

    @rank_zero_only
    def rebuild(self, rows: Sequence[Row]) -> None:
        """Replace all event files by one with these rows."""
        self.experiment.close()  # it opens a new file with the next point
        for file in Path(self.log_dir).glob("events.out.tfevents.*"):
            file.unlink()
        if self._record:
            self.log_facts(self._record)
        replay(self, rows)
        self.save()
