"""Prints what is about to be trained, and how long it will take."""

from time import perf_counter
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_only

from deeper.callbacks.duration import duration, speed, time_left
from deeper.training.module import steps_per_epoch

MEASURED_BATCHES = 20


class Banner(L.Callback):
    """Facts before the first step; the estimated hours after `MEASURED_BATCHES` batches."""

    def __init__(self) -> None:
        self._started = 0.0
        self._from = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Not earlier: Lightning knows the number of batches of an epoch from here on."""
        for line in facts(trainer, pl_module):
            rank_zero_only(print)(line, flush=True)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Timed from the second batch on: the first one warms caches and compiles."""
        done = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        if self._started == 0.0:
            self._started, self._from = perf_counter(), done
            return
        batches, epoch = done - self._from, int(trainer.num_training_batches)
        if batches == min(MEASURED_BATCHES, epoch - 1):
            elapsed = perf_counter() - self._started
            total = epoch * (trainer.max_epochs or 1)
            scale: Any = pl_module.initial_scale
            seconds = time_left(elapsed, scale, self._from / total, done / total)
            images = batches * trainer.datamodule.batch_size / trainer.accumulate_grad_batches  # type: ignore[attr-defined]
            estimate = f"about {duration(seconds)} of training"
            line = f"time      {estimate}, at {speed(images, elapsed)}"
            rank_zero_only(print)(line, flush=True)


def facts(trainer: L.Trainer, pl_module: L.LightningModule) -> list[str]:
    """One line each on network, data, images, length, batch, hardware and learning rate."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    net: Any = pl_module.net
    parameters = sum(p.numel() for p in net.parameters())
    train, val, test = (len(split) for split in data.splits[1:])
    chosen = "held out of train" if data.val_from == "holdout" else "the official set"
    world, accumulated = trainer.world_size, trainer.accumulate_grad_batches
    other = "" if data.initial_size == data.image_size else f", at first {data.initial_size} px"
    other += "" if data.eval_size == data.image_size else f", evaluated at {data.eval_size} px"
    lines = [
        f"network   {type(net).__name__}, {parameters:,} parameters, {data.image_size} px{other}",
        f"data      {len(data.classes)} classes from {data.root}",
        f"images    {train:,} train · {val:,} val ({chosen}) · {test:,} test",
    ]
    counts = data.counts
    if counts.quarantined:
        lines.append(
            f"bad       {counts.quarantined:,} of {counts.total:,} images quarantined, "
            f"{counts.total - counts.quarantined:,} good"
        )
    return [
        *lines,
        f"length    {trainer.max_epochs} epochs × {steps_per_epoch(trainer):,} steps",
        f"batch     {data.batch_size} global = {data.batch_size // (world * accumulated)} micro × "
        f"{world} processes × {accumulated} accumulated",
        f"hardware  {_device(trainer)}",
        f"rate      peak {trainer.optimizers[0].defaults['lr']:g}",
    ]


def _device(trainer: L.Trainer) -> str:
    if "cuda" in str(trainer.strategy.root_device):
        return f"{trainer.world_size} × {torch.cuda.get_device_name()}"
    return f"CPU, {torch.get_num_threads()} threads a process"
