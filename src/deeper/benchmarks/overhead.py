"""What a step costs beside its arithmetic: a bare loop, Lightning's barebones trainer, and ours.

A network of 1 to 2 ms a step, on batches that are ready in memory. Ours has everything on that a
training has: rows, averaging, checkpoints, signals, the lease and the progress bar.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import lightning as L
import torch
from torch import nn

from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Contest, Figure
from deeper.data.batch import Batch
from deeper.models.preprocess import Preprocess
from deeper.runs import build
from deeper.runs.lease import Lease

STEPS = 500
"""Of a pass."""

WARM_UP = 20
"""Steps that do not count."""

BATCH, SIZE, CLASSES = 4, 16, 10

BARE, BAREBONES, OURS = "bare loop", "Trainer(barebones=True)", "ours, everything on"


def contests(setting: Setting) -> Iterator[Contest]:
    batches, device = [*_batches()], setting.device
    yield Contest(
        f"{STEPS} steps of {BATCH} images of {SIZE} px, one thread",
        {
            BARE: lambda: bare_loop(batches, device),
            BAREBONES: lambda: barebones(batches, device),
            OURS: lambda: ours(batches, setting),
        },
        "ms a step",
        STEPS - WARM_UP,
        baselines=(BARE,),
        figures=[
            Figure("ms a step over Trainer(barebones=True)", OURS, BAREBONES, at_most=0.3),
            Figure("ms a step over a bare loop", OURS, BARE, at_most=0.7),
        ],
        threads=1,
    )


def _batches() -> Iterator[Batch]:
    random = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        shape = (BATCH, 3, SIZE, SIZE)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
        labels = torch.randint(0, CLASSES, (BATCH,), generator=random)
        yield Batch(images, labels, torch.arange(BATCH), torch.ones(BATCH, dtype=torch.bool))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES),
    )  # fmt: skip


class Clock(L.Callback):
    """Seconds from the end of step `WARM_UP` to the end of the last one."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.times.append(perf_counter())

    @property
    def seconds(self) -> float:
        return self.times[-1] - self.times[WARM_UP - 1]


def bare_loop(batches: list[Batch], device: torch.device) -> float:
    clock = Clock()
    net, preprocess = network().to(device).train(), Preprocess([0.5] * 3, [0.25] * 3).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    for batch in batches:
        images, labels = batch.images.to(device), batch.labels.to(device)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(preprocess(images)), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        clock.on_train_batch_end()
    return clock.seconds


class Plain(L.LightningModule):
    """The same step in a plain LightningModule, which keeps the time, since barebones has no callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.net, self.preprocess = network(), Preprocess([0.5] * 3, [0.25] * 3)

    def on_train_batch_end(self, *_: Any) -> None:
        self.clock.on_train_batch_end()

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(self.preprocess(batch.images)), batch.labels)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)


class Ready(L.LightningDataModule):
    """Batches in memory, with what callbacks ask a data module for."""

    def __init__(self, batches: list[Batch]) -> None:
        super().__init__()
        self.batches, self.batch_size = batches, BATCH

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> Any:
        """Lightning warns where there is none; `limit_val_batches` leaves it out."""
        return self.train_dataloader()


def barebones(batches: list[Batch], device: torch.device) -> float:
    module = Plain()
    L.Trainer(max_epochs=1, accelerator=device.type, devices=1, barebones=True).fit(
        module, Ready(batches).train_dataloader()
    )
    return module.clock.seconds


def ours(batches: list[Batch], setting: Setting) -> float:
    """As train.py has it, but for the network."""
    with TemporaryDirectory(dir=setting.scratch) as scratch:
        run = Path(scratch)
        cfg = setting.config(
            f"paths.run={run}", f"batch_size={BATCH}", "epochs=1", "precision=fp32",
            "averaging=ema", "trainer.limit_val_batches=0", "~callbacks.banner",
        )  # fmt: skip
        module = build.classifier(cfg, [str(number) for number in range(CLASSES)])
        module.net, lease = network(), Lease.acquire(run)
        trainer = build.trainer(cfg, run, lease)
        trainer.callbacks.append(clock := Clock())  # type: ignore[attr-defined]
        trainer.fit(module, Ready(batches))
        lease.release()
        return clock.seconds
