"""What a step costs beside its arithmetic: a bare loop, Lightning's barebones trainer, and ours.

A network of about 1 ms a step, on batches that are ready in memory. Ours has everything on that a
training has: rows, averaging, checkpoints, signals, the lease and the progress bar.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import lightning as L
import torch
from torch import nn

from deeper.augment.mix import Mix
from deeper.benchmarks import report, timing
from deeper.callbacks.averaging import Averaging
from deeper.callbacks.checkpoint import Checkpoint
from deeper.callbacks.lease import LeaseGuard
from deeper.callbacks.meter import Meter
from deeper.callbacks.progress import ProgressBar
from deeper.checkpoint import AtomicCheckpointIO, contents
from deeper.data.batch import Batch
from deeper.loggers.jsonl import MetricsFile
from deeper.models.preprocess import Preprocess
from deeper.runs.lease import Lease
from deeper.training.loss import CrossEntropy
from deeper.training.module import ImageClassifier
from deeper.training.optimizers import sgd
from deeper.training.schedules import cosine
from deeper.training.silence import silence_lightning

IMAGES = 500
"""Steps of a round."""

WARM_UP = 20
"""Steps that do not count."""

BATCH, SIZE, CLASSES = 8, 16, 10


def run(root: Path | None, images: int, rounds: int, workers: int, results: Path) -> None:
    """Time `images` steps of each loop in each round; `root` and `workers` have no effect."""
    torch.set_num_threads(1)
    silence_lightning()
    batches = [next(_batches()) for _ in range(images)]
    loops: dict[str, Any] = {
        "bare loop": lambda: bare_loop(batches),
        "Trainer(barebones=True)": lambda: barebones(batches),
        "ours, everything on": lambda: ours(batches),
    }
    taken = timing.seconds(loops, rounds)
    steps = images - WARM_UP
    ms = {name: [1000 * value / steps for value in values] for name, values in taken.items()}
    base = [ms["bare loop"], ms["Trainer(barebones=True)"]]
    rows = [
        {"loop": name, "ms_a_step": round(median(own), 3)}
        | {
            f"over_{what}_ms": round(median(a - b for a, b in zip(own, other, strict=True)), 3)
            for what, other in zip(("bare_loop", "barebones"), base, strict=True)
        }
        | {"of_rounds": [round(value, 3) for value in own]}
        for name, own in ms.items()
    ]
    report.show_rows(f"{images} steps of {BATCH} images, one thread", rows)
    report.write("overhead", {"steps": images, "rounds": rounds, "rows": rows}, results)


def _batches() -> Iterator[Batch]:
    random = torch.Generator().manual_seed(0)
    while True:
        shape = (BATCH, 3, SIZE, SIZE)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
        labels = torch.randint(0, CLASSES, (BATCH,), generator=random)
        yield Batch(images, labels, torch.arange(BATCH), torch.ones(BATCH, dtype=torch.bool))


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, CLASSES),
    )  # fmt: skip


def _classifier() -> ImageClassifier:
    return ImageClassifier(
        _network(), Preprocess([0.5] * 3, [0.25] * 3), CrossEntropy(),
        lambda net: sgd(net, lr=0.01, batch_size=BATCH), cosine, seed=0, mix=Mix(),
        checkpoint_metadata=contents({}, [str(number) for number in range(CLASSES)]),
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


def bare_loop(batches: list[Batch]) -> float:
    clock = Clock()
    net, preprocess = _network().train(), Preprocess([0.5] * 3, [0.25] * 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    for batch in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(preprocess(batch.images)), batch.labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        clock.on_train_batch_end()
    return clock.seconds


class Plain(L.LightningModule):
    """The same step in a plain LightningModule, which keeps the time, since barebones has no callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.net, self.preprocess = _network(), Preprocess([0.5] * 3, [0.25] * 3)

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


def barebones(batches: list[Batch]) -> float:
    module = Plain()
    L.Trainer(max_epochs=1, accelerator="cpu", barebones=True).fit(module, Ready(batches))
    return module.clock.seconds


def ours(batches: list[Batch]) -> float:
    with TemporaryDirectory() as scratch:
        run = Path(scratch)
        lease = Lease.acquire(run)
        callbacks = [
            LeaseGuard(lease), Meter(), ProgressBar(), Averaging("ema"), Checkpoint(str(run / "c")),
            clock := Clock(),
        ]  # fmt: skip
        trainer = L.Trainer(
            max_epochs=1, accelerator="cpu", callbacks=callbacks, logger=[MetricsFile(run)],
            plugins=[AtomicCheckpointIO()], log_every_n_steps=20, enable_checkpointing=False,
            enable_model_summary=False, use_distributed_sampler=False, default_root_dir=run,
        )  # fmt: skip
        trainer.fit(_classifier(), Ready(batches))
        lease.release()
        return clock.seconds
