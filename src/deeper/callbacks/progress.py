"""Progress on screen: a bar with the time left on a terminal, one line per epoch everywhere."""

from time import perf_counter
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console

from deeper.callbacks.duration import duration, speed, time_left


class ProgressBar(RichProgressBar):
    """Lightning's rich bar, and a line that stays at each epoch's end."""

    def __init__(self, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate)
        if not Console().is_terminal:
            self.disable()  # a file gets the epochs' lines alone
        self._epoch_start = self._fit_start = 0.0
        self._first_epoch = 0
        self._trained_at: float | None = None
        """When this epoch's training ended and its validation began; None without validation."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A run that is resumed within an epoch has no start of an epoch."""
        super().on_train_start(trainer, pl_module)
        self._fit_start = self._epoch_start = perf_counter()
        self._first_epoch = trainer.current_epoch

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self._epoch_start, self._trained_at = perf_counter(), None

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_validation_start(trainer, pl_module)
        self._trained_at = perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.is_global_zero:
            print(self._line(trainer), flush=True)

    def _line(self, trainer: L.Trainer) -> str:
        now = perf_counter()
        epochs, done = trainer.max_epochs or 1, trainer.current_epoch + 1
        module: Any = trainer.lightning_module
        start, elapsed = self._first_epoch / epochs, now - self._fit_start
        left = time_left(elapsed, module.initial_scale, start, done / epochs)
        batch = trainer.datamodule.batch_size / trainer.accumulate_grad_batches  # type: ignore[attr-defined]
        images = trainer.num_training_batches * batch
        # Without a validation in this epoch, Lightning still holds the metrics of an earlier one.
        metrics = trainer.callback_metrics if self._trained_at is not None else {}
        parts = [
            f"epoch {done:>{len(str(epochs))}}/{epochs}",
            *(
                f"{name} {float(metrics[name]):{'.1%' if 'top' in name else '.3f'}}"
                for name in ("val/loss", "val/top1", "val/top5")
                if name in metrics
            ),
            speed(images, (self._trained_at or now) - self._epoch_start),
            f"{duration(left)} left",
        ]
        return " · ".join(parts)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """No metrics: a tensor in the bar would cost a device sync at each refresh."""
        return {}
