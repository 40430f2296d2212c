"""Writes `last.ckpt` after every epoch and `best.ckpt` after every validation that was the best.

Lightning's own `save_last` writes only in steps in which a top-k file was saved, so it can be stale.
This callback must be the trainer's last, so that the file has the state of all others.
"""

from math import inf, isnan
from pathlib import Path
from typing import Any, Literal

import lightning as L

from deeper import checkpoint as files
from deeper.loggers.jsonl import MetricsFile
from deeper.training.divergence import Diverged, require_finite


class Checkpoint(L.Callback):
    """`folder` gets both files; `monitor` names the metric that `mode` maximizes or minimizes.

    Of equal values the lower val/loss is better, then the earlier epoch. Weights that are not
    finite are never saved: they raise `Diverged`.
    """

    def __init__(
        self,
        folder: str,
        monitor: str = "val/top1",
        mode: Literal["maximize", "minimize"] = "maximize",
    ) -> None:
        self.folder, self.monitor, self.mode = Path(folder), monitor, mode
        self.best_metrics: dict[str, float] = {}
        """All metrics known when the best checkpoint was written, with its epoch (from 1)."""
        self._validated = False
        self._last_is_best = False

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    @property
    def best_file(self) -> Path:
        return self.folder / "best.ckpt"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Drop rows logged after the checkpoint: training goes on from there."""
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                if isinstance(logger, MetricsFile):
                    logger.rewind(trainer.global_step)
        self._link_resumed(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """As at the start, which Lightning skips for a run that had trained to its end."""
        self._link_resumed(trainer)

    def _link_resumed(self, trainer: L.Trainer) -> None:
        """Write the best file that a crash prevented after `last`, which is the best, was written."""
        resumed = trainer.ckpt_path is not None and Path(trainer.ckpt_path) == self.last
        if resumed and self._last_is_best and trainer.is_global_zero:
            files.link_checkpoint(self.last, self.best_file)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning runs the epoch's validation, if there is one, before this."""
        require_finite(trainer, pl_module.net)  # type: ignore[arg-type]
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        better = self._validated and self._improves(found)
        self._validated = False
        if better:
            self.best_metrics = found | {"epoch": trainer.current_epoch + 1}
        self._save(trainer, best=better)
        if better and trainer.is_global_zero:
            files.link_checkpoint(self.last, self.best_file)
        trainer.strategy.barrier()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Save `last` when an unreadable image stops the training between two steps.

        Only in a single process: with several, the others are in the midst of a step.
        """
        done = trainer.fit_loop.epoch_loop.batch_progress.current
        between = done.ready == done.completed and done.ready % trainer.accumulate_grad_batches == 0
        bad_data = isinstance(exception, ValueError) and trainer.training and trainer.global_step
        if bad_data and between and trainer.world_size == 1:
            try:
                require_finite(trainer, pl_module.net)  # type: ignore[arg-type]
            except Diverged:
                return
            self._save(trainer, best=False)

    def _save(self, trainer: L.Trainer, best: bool) -> None:
        self._last_is_best = best
        trainer.save_checkpoint(self.last, weights_only=False)

    def _improves(self, found: dict[str, float]) -> bool:
        if self.monitor not in found:
            known = ", ".join(sorted(found)) or "none"
            raise ValueError(
                f"callbacks.checkpoint.monitor={self.monitor}: not logged; known: {known}"
            )
        if isnan(found[self.monitor]):
            return False
        return not self.best_metrics or self._rank(found) > self._rank(self.best_metrics)

    def _rank(self, metrics: dict[str, float]) -> tuple[float, float]:
        """Larger is better."""
        sign = 1 if self.mode == "maximize" else -1
        return sign * metrics[self.monitor], -metrics.get("val/loss", inf)

    def state_dict(self) -> dict[str, Any]:
        return {"best_metrics": self.best_metrics, "last_is_best": self._last_is_best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_metrics = state_dict["best_metrics"]
        self._last_is_best = state_dict["last_is_best"]
