"""The LightningDataModule: a source, its splits, and loaders in a counter-based order."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Literal

import lightning as L
import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import DataLoader

from deeper.data.batch import Batch, collate
from deeper.data.dataset import LazyLoader, Pipeline, Samples, Transform
from deeper.data.layouts import packed
from deeper.data.quarantine import Census, Policy, admitted
from deeper.data.sampler import EvalBatchSampler, Key, Shard, TrainBatchSampler
from deeper.data.source import LabelledImages, Source, Splits, prepare_once
from deeper.data.splits import Subset, limited, split_holdout
from deeper.data.staging import staged
from deeper.prepare.workers import cores


class ImageData(L.LightningDataModule):
    """Images of `source` as `Batch`es of `image_size` pixels.

    `batch_size` is global: processes and accumulated batches divide it. `val_from=holdout` takes
    the validation set from train (`holdout` is its share, by class), so that the official set,
    which `test` reports, chooses nothing. `limit` keeps that many images of each split, spread
    over the classes. `scale` says to recipes how long to train, `eval_crop` to the protocol how
    much of the shorter side the centre crop keeps. `cache` is a folder for what can be made again.
    `bad` says what becomes of images that the manifest of prepare.py knows to be unreadable;
    `stage_to` is a disk of the node to which a packed root is copied first.
    """

    def __init__(
        self,
        source: Source,
        *,
        root: str,
        cache: str,
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
        bad: Policy = "strict",
        stage_to: str | None = None,
        workers: int | Literal["auto"] = "auto",
    ) -> None:
        super().__init__()
        if not 0 < holdout < 1:
            raise ValueError(f"holdout={holdout}: the share of train that is held out, in 0..1")
        if min(image_size, batch_size, eval_batch_size) < 1:
            raise ValueError("image_size, batch_size and eval_batch_size must be at least 1")
        if limit is not None and limit < 1:
            raise ValueError(f"limit={limit}: must be at least 1 image, or null")
        if workers != "auto" and workers < 0:
            raise ValueError(f"workers={workers}: auto, or a number from 0 (no process) on")
        self.source, self.root, self.cache = source, root, cache
        self.image_size, self.scale = image_size, scale
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.seed, self.val_from, self.holdout, self.limit = seed, val_from, holdout, limit
        self.bad, self.stage_to, self.workers = bad, stage_to, workers
        self._augment = Pipeline(augment, image_size)
        looks = protocol(image_size, eval_crop)
        if (views := getattr(looks, "views", 1)) != 1:
            raise ValueError(
                f"the protocol has {views} views of an image, and a training validates with one: train "
                f"with protocol=single, then `python src/eval.py run=RUN protocol=…`"
            )
        self._evaluate = Pipeline({"protocol": looks}, image_size)
        self.census = Census(verified=False, total=0, quarantined=0)
        self._splits: Splits | None = None
        self._one_official = False

    def prepare_data(self) -> None:
        """Safe for any number of processes: one at a time prepares a root, or copies it to a node."""
        prepare_once(self.source, Path(self.root), Path(self.cache))
        if self.stage_to is not None:
            staged(Path(self.root).expanduser(), Path(self.stage_to).expanduser())

    def setup(self, stage: str | None = None) -> None:
        if self._splits is not None:
            return
        root, cache = Path(self.root).expanduser(), Path(self.cache).expanduser()
        official = self.source.load()
        if self.stage_to is not None:
            official = packed.load_splits(staged(root, Path(self.stage_to).expanduser()))
        (classes, train, val, test), self.census = admitted(official, root, cache, self.bad)
        self._one_official = val is test
        if self.val_from == "holdout" and len(train):  # else it is a test set alone
            fit, held = split_holdout(train.labels, self.holdout)
            self._splits = Splits(classes, Subset(train, fit), Subset(train, held), test)
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

    def fingerprint(self, split: str | None = None) -> str:
        """Identifies the classes and the labels of one split, or of all."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for part in self.splits[1:] if split is None else [getattr(self.splits, split)]:
            digest.update(len(part).to_bytes(8))
            digest.update(np.ascontiguousarray(part.labels, dtype=np.int64).tobytes())
        return digest.hexdigest()[:16]

    def shard(self) -> Shard:
        t = self.trainer
        if t is None:
            return Shard()
        return Shard(t.global_rank, t.world_size, t.accumulate_grad_batches)

    def require_trainable(self, trainer: L.Trainer, test: bool) -> None:
        """Refuse a batch size that these processes can't share, and a test that means nothing."""
        self.trainer = trainer
        if not len(self.splits.train):
            raise ValueError(
                f"data.root={self.root} is a test set alone; train on another, and judge the run by "
                f"`python src/eval.py run=RUN data.root={self.root}`"
            )
        self.train_sampler()
        if test:
            self.require_test()

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.splits.train, self._augment, self.train_sampler())

    def train_sampler(self) -> TrainBatchSampler:
        n = len(self.splits.train)
        return TrainBatchSampler(n, self.seed, self.batch_size, self.shard(), self._position)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.eval_dataloader(self.splits.val)

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.eval_dataloader(self.splits.test)

    def eval_dataloader(self, part: LabelledImages) -> DataLoader[Batch]:
        order = EvalBatchSampler(len(part), self.eval_batch_size, self.shard())
        return self._loader(part, self._evaluate, order)

    def view_dataloader(
        self, part: LabelledImages, pipeline: Pipeline, order: EvalBatchSampler
    ) -> DataLoader[Batch]:
        """A loader with another pipeline than validation's, for an evaluation by another protocol."""
        return self._loader(part, pipeline, order, persistent=False)

    def calibration_batches(self, batches: int) -> Iterator[Batch]:
        """What this process trains on in the first `batches` steps of epoch 0, read anew.

        For statistics of averaged weights: a resumed run sees the same ones.
        """
        shard, part = self.shard(), self.splits.train
        order = TrainBatchSampler(len(part), self.seed, self.batch_size, shard, lambda: (0, 0))
        keys = [*islice(order, batches * shard.accumulate)]
        yield from self._loader(part, self._augment, keys, persistent=False)

    def _position(self) -> tuple[int, int]:
        """Read when a pass begins, so that a resumed loader starts where Lightning says it stopped."""
        t = self.trainer
        if t is None:
            return 0, 0
        return t.current_epoch, t.fit_loop.epoch_loop.batch_progress.current.ready

    def require_test(self, val_from: str | None = None) -> None:
        """Refuse to test on the set that chooses the checkpoint: its number would be too good.

        `val_from` is that of another training on the same images.
        """
        if (val_from or self.val_from) == "official" and self._one_official:
            raise ValueError(
                "data.val_from=official: there is one official set, so it chooses the checkpoint "
                "and can't be the test too; pass data.val_from=holdout, or go without a test "
                "(train with test=false, evaluate with split=val)"
            )

    def _loader(
        self,
        part: LabelledImages,
        pipeline: Pipeline,
        batches: Iterable[list[Key]],
        persistent: bool = True,
    ) -> DataLoader[Batch]:
        workers = self._num_workers()
        loader = LazyLoader(
            Samples(part, pipeline, self.seed),  # type: ignore[arg-type]  # collate makes the Batch
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=persistent and workers > 0,
        )
        device = self.trainer.strategy.root_device if self.trainer else None
        loader.gpu = device if device is not None and device.type == "cuda" else None
        return loader

    def _num_workers(self) -> int:
        """auto: one beside a CPU that trains, else the cores that this process can call its own."""
        if self.workers != "auto":
            return self.workers
        if not torch.cuda.is_available():
            return 1
        local = max(torch.cuda.device_count(), 1)
        return max(min(cores() // local, 16), 1)
