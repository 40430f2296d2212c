"""Writes `last.ckpt` after every validation and `best.ckpt` when its metric was never better.

Lightning's own `save_last` writes only in steps in which a top-k file was saved, so it can be stale.
The trainer is to have this callback last, so that the state of all others is in the file.
"""

from pathlib import Path
from typing import Any, Literal

import lightning as L

from deeper import checkpoint as files
from deeper.loggers.jsonl import MetricsFile


class Checkpoint(L.Callback):
    """`folder` gets both files; `monitor` is a metric's name, better when `mode` says."""

    def __init__(
        self,
        folder: str,
        monitor: str = "val/top1",
        mode: Literal["maximize", "minimize"] = "maximize",
    ) -> None:
        self.folder, self.monitor, self.mode = Path(folder), monitor, mode
        self.best: float | None = None
        self.best_metrics: dict[str, float] = {}
        """All that was known when the best checkpoint was written, with its epoch (from 1)."""
        self._validated = False

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    @property
    def best_file(self) -> Path:
        return self.folder / "best.ckpt"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """What was logged after the checkpoint is logged anew. And a crash may have come between
        the two files: the last then knows that it is the best.
        """
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.rewind(trainer.global_step)
        self._relink(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """As at the start, which a run that had trained to its end skips."""
        if trainer.is_global_zero:
            self._relink(trainer)

    def _relink(self, trainer: L.Trainer) -> None:
        last_is_best = self.best_metrics.get("epoch") == trainer.current_epoch > 0
        if last_is_best and self.last.exists():
            files.link_checkpoint(self.last, self.best_file)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After the epoch's validation, where it had one: Lightning runs it inside the epoch."""
        better = self._validated and self._improves(trainer)
        self._validated = False
        if better:
            metrics = trainer.callback_metrics.items()
            self.best_metrics = {name: float(value) for name, value in metrics}
            self.best_metrics["epoch"] = trainer.current_epoch + 1
        trainer.save_checkpoint(self.last, weights_only=False)
        if better and trainer.is_global_zero:
            files.link_checkpoint(self.last, self.best_file)
        trainer.strategy.barrier()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """An image that cannot be read stops between two steps: `last` is what was learned so far.

        One process alone: in several, the others are in the midst of a step.
        """
        done = trainer.fit_loop.epoch_loop.batch_progress.current
        between = done.ready == done.completed and done.ready % trainer.accumulate_grad_batches == 0
        bad_data = isinstance(exception, ValueError) and trainer.training and trainer.global_step
        if bad_data and between and trainer.world_size == 1:
            trainer.save_checkpoint(self.last, weights_only=False)

    def _improves(self, trainer: L.Trainer) -> bool:
        if self.monitor not in trainer.callback_metrics:
            known = ", ".join(sorted(trainer.callback_metrics)) or "none"
            raise ValueError(
                f"callbacks.checkpoint.monitor={self.monitor}: not logged; known: {known}"
            )
        value = float(trainer.callback_metrics[self.monitor])
        sign = 1 if self.mode == "maximize" else -1
        better = value == value and (self.best is None or sign * value > sign * self.best)
        if better:
            self.best = value
        return better

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_metrics": self.best_metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_metrics = state_dict["best"], state_dict["best_metrics"]
