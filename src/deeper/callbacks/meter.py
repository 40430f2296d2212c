"""Measures training without slowing it: values wait on the device and cross over once a log row."""

from time import perf_counter
from typing import Any

import lightning as L
import torch
from torch import Tensor

from deeper.data.batch import Batch


class Meter(L.Callback):
    """Every `trainer.log_every_n_steps` steps one row to all loggers: train/… as means over the
    row's batches, optim/lr, grad_norm/<stage> of the row's last step, perf/images_per_s (global),
    perf/data_wait (share of time that the step waited for its batch).
    """

    def __init__(self, grad_norm: bool = True) -> None:
        self.grad_norm = grad_norm
        self._losses: dict[str, list[Tensor]] = {}
        self._norms: dict[str, Tensor] = {}
        self._waited, self._images, self._step = 0.0, 0, -1
        self._started = self._left = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The clock starts anew: validation is no training time."""
        self._started = self._left = perf_counter()
        self._waited, self._images = 0.0, 0
        self._step = trainer.global_step

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self._waited += perf_counter() - self._left

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any
    ) -> None:
        if self.grad_norm and self._row_ends(trainer, trainer.global_step + 1):
            self._norms = {f"grad_norm/{s}": norm for s, norm in _norms(pl_module).items()}

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        for name, value in outputs.items():
            # Lightning has divided "loss", and it alone, by the accumulated batches.
            whole = trainer.accumulate_grad_batches if name == "loss" else 1
            self._losses.setdefault(f"train/{name}", []).append(value.detach() * whole)
        self._images += len(batch.images) * trainer.world_size
        self._left = perf_counter()
        if trainer.global_step != self._step and self._row_ends(trainer, trainer.global_step):
            self._write(trainer)
        self._step = trainer.global_step

    def _row_ends(self, trainer: L.Trainer, step: int) -> bool:
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        return step % max(every, 1) == 0

    def _write(self, trainer: L.Trainer) -> None:
        now = perf_counter()
        row = {name: torch.stack(values).mean() for name, values in self._losses.items()}
        row |= self._norms
        numbers = dict(zip(row, torch.stack([*row.values()]).tolist(), strict=True))  # one sync
        elapsed = max(now - self._started, 1e-9)
        numbers |= {
            "optim/lr": trainer.optimizers[0].param_groups[0]["lr"],
            "perf/images_per_s": self._images / elapsed,
            "perf/data_wait": self._waited / elapsed,
            "epoch": trainer.current_epoch,
        }
        for logger in trainer.loggers:
            logger.log_metrics(numbers, step=trainer.global_step)
        self._losses, self._norms = {}, {}
        self._waited, self._images, self._started = 0.0, 0, now


def _norms(module: L.LightningModule) -> dict[str, Tensor]:
    """Norm of the gradient of each child of the network."""
    norms = {}
    for stage, child in module.net.named_children():  # type: ignore[union-attr]
        gradients = [p.grad for p in child.parameters() if p.grad is not None]
        if gradients:
            norms[stage] = torch.linalg.vector_norm(
                torch.stack([torch.linalg.vector_norm(g.float()) for g in gradients])
            )
    return norms
