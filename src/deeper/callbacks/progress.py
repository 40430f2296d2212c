"""What a person sees: a bar with images/s and time left on a terminal, a line an epoch everywhere."""

from time import perf_counter
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console

from deeper.callbacks.banner import duration


class ProgressBar(RichProgressBar):
    """Lightning's rich bar, and a line at each epoch's end that stays."""

    def __init__(self, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate)
        self._epoch_start = self._fit_start = 0.0
        self._first_epoch = 0
        self._train_seconds = 0.0

    @property
    def is_enabled(self) -> bool:
        """Only on a terminal; a file gets the epochs' lines alone."""
        return super().is_enabled and Console().is_terminal

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self._epoch_start = perf_counter()
        if self._fit_start == 0.0:
            self._fit_start, self._first_epoch = self._epoch_start, trainer.current_epoch

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_validation_start(trainer, pl_module)
        self._train_seconds = perf_counter() - self._epoch_start

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        epochs = trainer.max_epochs or 1
        done = trainer.current_epoch + 1
        elapsed = perf_counter() - self._fit_start
        left = elapsed / (done - self._first_epoch) * (epochs - done)
        order = trainer.datamodule.train_sampler()  # type: ignore[attr-defined]
        rate = int(trainer.num_training_batches) * order.micro_batch * order.ranks.world_size
        rate_text = f"{rate / max(self._train_seconds, 1e-9):,.0f} images/s"
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        parts = [
            f"epoch {done:>{len(str(epochs))}}/{epochs}",
            *(
                f"{name} {values[name]:.1%}" if "top" in name else f"{name} {values[name]:.3f}"
                for name in ("val/loss", "val/top1", "val/top5")
                if name in values
            ),
            rate_text,
            f"{duration(left)} left",
        ]
        self._print(" · ".join(parts))

    def _print(self, line: str) -> None:
        console = self.progress.console if self.progress is not None else Console()
        console.print(line, highlight=False, soft_wrap=True)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Nothing: the bar shows time and speed; a tensor here would cost a sync each refresh."""
        return {}
