"""The LightningDataModule: a source, its splits, and loaders in a counter-based order."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import lightning as L
import numpy as np
import torch
from filelock import FileLock
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import DataLoader

from deeper.data.batch import Batch, collate
from deeper.data.order import EvalOrder, Share, TrainOrder
from deeper.data.samples import LazyLoader, Pipeline, Samples, Transform
from deeper.data.source import LabelledImages, Source, Splits
from deeper.data.subset import Part, limited, split_holdout


class ImageData(L.LightningDataModule):
    """Images of `source` as `Batch`es of `image_size` pixels.

    `batch_size` is global: processes and accumulated batches divide it. `val_from=holdout` takes
    the validation set from train (`holdout` is its share, by class), so that the official set,
    which `test` reports, chooses nothing. `limit` keeps that many images of each split, spread
    over the classes. `scale` says to recipes how long to train, `eval_crop` to the protocol how
    much of the shorter side the centre crop keeps.
    """

    def __init__(
        self,
        source: Source,
        *,
        root: str,
        image_size: int,
        batch_size: int,
        augment: Mapping[str, Transform],
        protocol: Callable[..., Callable[[Image], Tensor]],
        seed: int,
        scale: Literal["small", "imagenet"] = "small",
        eval_crop: float = 0.875,
        eval_batch_size: int = 64,
        val_from: Literal["holdout", "official"] = "holdout",
        holdout: float = 0.05,
        limit: int | None = None,
        workers: int | Literal["auto"] = "auto",
    ) -> None:
        super().__init__()
        if not 0 < holdout < 1:
            raise ValueError(f"holdout={holdout}: the share of train that is held out, in 0..1")
        if min(image_size, batch_size, eval_batch_size) < 1:
            raise ValueError("image_size, batch_size and eval_batch_size must be at least 1")
        if limit is not None and limit < 1:
            raise ValueError(f"limit={limit}: must be at least 1 image, or null")
        self.source, self.root = source, root
        self.image_size, self.scale = image_size, scale
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.seed, self.val_from, self.holdout, self.limit = seed, val_from, holdout, limit
        self.workers = workers
        self._augment = Pipeline(augment, image_size)
        self._evaluate = Pipeline({"protocol": protocol(image_size, eval_crop)}, image_size)
        self._splits: Splits | None = None

    def prepare_data(self) -> None:
        """Safe for any number of processes that share a disk."""
        root = Path(self.root).expanduser()
        if root.exists():
            self.source.prepare()
            return
        root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(root.parent / f".{root.name}.lock"):
            self.source.prepare()

    def setup(self, stage: str | None = None) -> None:
        if self._splits is not None:
            return
        classes, train, val, test = self.source.load()
        if self.val_from == "holdout":
            fit, held = split_holdout(train.labels, self.holdout)
            self._splits = Splits(classes, Part(train, fit), Part(train, held), test)
        else:
            self._splits = Splits(classes, train, val, test)
        if self.limit is not None:
            parts = (limited(part, self.limit) for part in self._splits[1:])
            self._splits = Splits(classes, *parts)

    @property
    def splits(self) -> Splits:
        if self._splits is None:
            raise RuntimeError("call prepare_data() and setup() first")
        return self._splits

    @property
    def classes(self) -> list[str]:
        return self.splits.classes

    def fingerprint(self) -> str:
        """Names the classes and the labels of every split; two runs that agree saw the same sets."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for part in self.splits[1:]:
            digest.update(np.ascontiguousarray(part.labels).tobytes())
        return digest.hexdigest()[:16]

    def share(self) -> Share:
        t = self.trainer
        if t is None:
            return Share()
        return Share(t.global_rank, t.world_size, t.accumulate_grad_batches)

    def require_divisible(self, trainer: L.Trainer) -> None:
        """Refuse a batch size that these processes can't share, before the run is recorded."""
        self.trainer = trainer
        self.train_order()

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.splits.train, self._augment, self.train_order())

    def train_order(self) -> TrainOrder:
        n = len(self.splits.train)
        return TrainOrder(n, self.seed, self.batch_size, self.share(), self._position)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.eval_dataloader(self.splits.val)

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.eval_dataloader(self.splits.test)

    def eval_dataloader(self, part: LabelledImages) -> DataLoader[Batch]:
        order = EvalOrder(len(part), self.eval_batch_size, self.share())
        return self._loader(part, self._evaluate, order)

    def calibration_batches(self, batches: int) -> Iterator[Batch]:
        """The first batches that this process trains on in epoch 0, read anew in this process.

        For statistics of averaged weights: a resumed run sees the same ones.
        """
        share = Share(self.share().rank, self.share().world_size)
        part = self.splits.train
        size = min(self.batch_size, len(part)) // share.world_size * share.world_size
        order = TrainOrder(len(part), self.seed, size, share, lambda: (0, 0))
        samples = Samples(part, self._augment, self.seed)
        for _, keys in zip(range(batches), order, strict=False):
            yield collate([samples[key] for key in keys])

    def _position(self) -> tuple[int, int]:
        """Read when a pass begins, so that a resumed loader starts where Lightning says it stopped."""
        t = self.trainer
        if t is None:
            return 0, 0
        return t.current_epoch, t.fit_loop.epoch_loop.batch_progress.current.ready

    def _loader(
        self, part: LabelledImages, pipeline: Pipeline, order: TrainOrder | EvalOrder
    ) -> DataLoader[Batch]:
        workers = self._num_workers()
        return LazyLoader(
            Samples(part, pipeline, self.seed),  # type: ignore[arg-type]  # collate makes the Batch
            batch_sampler=order,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
        )

    def _num_workers(self) -> int:
        """auto: one beside a CPU that trains, else the cores that this process can call its own."""
        if self.workers != "auto":
            return self.workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        if not torch.cuda.is_available():
            return 1
        local = max(torch.cuda.device_count(), 1)
        return max(min((cores or 1) // local, 16), 1)
