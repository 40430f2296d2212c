"""What is about to be trained, in ten lines, and how long it will take."""

from time import perf_counter
from typing import Any

import lightning as L
import torch
from rich.console import Console

MEASURED_STEPS = 20


class Banner(L.Callback):
    """Facts before the first step; the estimated hours after `MEASURED_STEPS` of them."""

    def __init__(self) -> None:
        self._started = 0.0
        self._from = 0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            for line in facts(trainer, pl_module):
                Console().print(line, highlight=False, soft_wrap=True)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Timed from the second batch on: the first one warms caches and compiles."""
        done = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        if self._started == 0.0:
            self._started, self._from = perf_counter(), done
            return
        steps = done - self._from
        enough = min(MEASURED_STEPS, int(trainer.num_training_batches) - 1)
        if steps == enough and trainer.is_global_zero:
            seconds = (perf_counter() - self._started) / steps
            left = int(trainer.num_training_batches) * (trainer.max_epochs or 1) - done
            images = pl_module.trainer.datamodule.batch_size / trainer.accumulate_grad_batches  # type: ignore[attr-defined]
            Console().print(
                f"time      about {duration(seconds * left)} of training, "
                f"at {images / seconds:,.0f} images/s",
                highlight=False,
                soft_wrap=True,
            )


def facts(trainer: L.Trainer, pl_module: L.LightningModule) -> list[str]:
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    net: Any = pl_module.net
    parameters = sum(p.numel() for p in net.parameters())
    order = data.train_sampler()
    shard = order.ranks
    rate = trainer.optimizers[0].defaults["lr"] if trainer.optimizers else None
    train, val, test = (len(split) for split in data.splits[1:])
    chosen = "held out of train" if data.val_from == "holdout" else "the official set"
    lines = [
        f"network   {type(net).__name__}, {parameters:,} parameters, {data.image_size} px",
        f"data      {len(data.classes)} classes from {data.root}",
        f"images    {train:,} train · {val:,} val ({chosen}) · {test:,} test",
        f"epochs    {trainer.max_epochs} of {len(order) // shard.accumulate:,} steps",
        f"batch     {order.global_batch} global = {order.micro_batch} micro × "
        f"{shard.world_size} processes × {shard.accumulate} accumulated",
        f"hardware  {_device(trainer)}",
    ]
    census = data.census
    if census.quarantined:
        lines.insert(
            3,
            f"bad       {census.quarantined:,} of {census.total:,} images quarantined, "
            f"{census.good:,} good",
        )
    if rate is not None:
        lines.append(f"rate      peak {rate:g}")
    return lines


def _device(trainer: L.Trainer) -> str:
    if (
        trainer.num_devices
        and torch.cuda.is_available()
        and "cuda" in str(trainer.strategy.root_device)
    ):
        return f"{trainer.world_size} × {torch.cuda.get_device_name()}"
    return f"CPU, {torch.get_num_threads()} threads a process"


def duration(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 90:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s"
