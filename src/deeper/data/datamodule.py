"""The LightningDataModule: a source, its splits, and loaders in a deterministic order."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Literal

import lightning as L
import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import DataLoader

from deeper.data.batch import Batch
from deeper.data.dataset import Pipeline, Samples, Transform
from deeper.data.layouts import packed
from deeper.data.loader import batch_loader, worker_count
from deeper.data.partition import Partition, ValFrom
from deeper.data.quarantine import BadImages, without_bad
from deeper.data.sampler import EvalBatchSampler, RankSlice, SampleKey, TrainBatchSampler
from deeper.data.source import LabelledImages, Source, Splits, prepare_once
from deeper.data.staging import staged
from deeper.models.geometry import eval_size, training_size


class ImageData(L.LightningDataModule):
    """Images of a source as `Batch`es of `image_size` pixels, in evaluation `eval_scale` times as many.

    `source` is called with `root` and `cache`, a folder for what can be made again. `batch_size` is
    global: over all processes and accumulated batches. `val_from`, `holdout` and `limit` are those of
    `Partition`. Recipes read from `scale` how long to train, networks from `initial_scale` how small
    the first images become, and protocols from `eval_crop` which fraction of the shorter side the
    centre crop keeps. `bad` says what becomes of images that
    `prepare.py` found unreadable. `stage_to` is a disk of this node, to which a packed root is copied
    first.
    """

    def __init__(
        self,
        source: Callable[..., Source],
        *,
        root: str,
        cache: str,
        image_size: int,
        batch_size: int,
        augment: Mapping[str, Transform],
        protocol: Callable[..., Callable[[Image], Tensor]],
        seed: int,
        scale: Literal["small", "imagenet"] = "small",
        eval_scale: float = 1.0,
        initial_scale: float = 1.0,
        eval_crop: float = 0.875,
        eval_batch_size: int = 64,
        val_from: ValFrom = "holdout",
        holdout: float = 0.05,
        limit: int | None = None,
        bad: BadImages = "strict",
        stage_to: str | None = None,
        workers: int | Literal["auto"] = "auto",
    ) -> None:
        super().__init__()
        if not callable(source):
            raise ValueError(
                "data.source: is built already; add `_partial_: true` to it, and leave out root and "
                "cache, with which it is called"
            )
        if not 0 < holdout < 1:
            raise ValueError(f"holdout={holdout}: the fraction of train held out, in 0..1")
        if min(image_size, batch_size, eval_batch_size) < 1:
            raise ValueError("image_size, batch_size and eval_batch_size must be at least 1")
        if limit is not None and limit < 1:
            raise ValueError(f"limit={limit}: must be at least 1 image, or null")
        if workers != "auto" and workers < 0:
            raise ValueError(f"workers={workers}: auto, or a number from 0 (no process) on")
        self.source, self.root, self.cache = source(root=root, cache=cache), root, cache
        self.image_size, self.scale = image_size, scale
        self.eval_size = eval_size(image_size, eval_scale)
        self.initial_size = training_size(image_size, initial_scale, 0)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.seed, self.val_from, self.holdout, self.limit = seed, val_from, holdout, limit
        self.bad, self.stage_to, self.workers = bad, stage_to, workers
        self._augment = Pipeline(augment, image_size)
        crops = protocol(self.eval_size, eval_crop)
        if (views := getattr(crops, "views", 1)) != 1:
            raise ValueError(
                f"the protocol has {views} views of an image, and a training validates with one: train "
                f"with protocol=single, then `python src/eval.py run=RUN protocol=…`"
            )
        self._evaluate = Pipeline({"protocol": crops}, self.eval_size)
        self._partition: Partition | None = None

    def prepare_data(self) -> None:
        """Any number of processes may call it: one at a time prepares a root, or copies it to a node."""
        prepare_once(self.source, Path(self.root), Path(self.cache))
        if self.stage_to is not None:
            staged(Path(self.root).expanduser(), Path(self.stage_to).expanduser())

    def setup(self, stage: str | None = None) -> None:
        if self._partition is not None:
            return
        root, cache = Path(self.root).expanduser(), Path(self.cache).expanduser()
        splits = self.source.load()
        if self.stage_to is not None:
            splits = packed.load_splits(staged(root, Path(self.stage_to).expanduser()))
        official, self.counts = without_bad(splits, root, cache, self.bad)
        self._partition = Partition(official, self.val_from, self.holdout, self.limit)

    @property
    def partition(self) -> Partition:
        """The splits and their fingerprints."""
        if self._partition is None:
            raise RuntimeError("call prepare_data() and setup() first")
        return self._partition

    @property
    def splits(self) -> Splits:
        return self.partition.splits

    @property
    def classes(self) -> list[str]:
        return self.splits.classes

    def fingerprint(self, split: Literal["train", "val", "test"] | None = None) -> str:
        return self.partition.fingerprint(split)

    def require_trainable(self, trainer: L.Trainer, test: bool) -> None:
        """Refuse splits without images, a batch size that processes can't share, and a biased test.

        Takes rank and position from `trainer`, as Lightning does for a fit.
        """
        self.trainer = trainer
        self.partition.require_trainable()
        self.train_sampler()
        if test:
            self.require_test()

    def require_test(self, val_from: str | None = None) -> None:
        """As `Partition.require_test`; `val_from` is by default that of this data."""
        self.partition.require_test(val_from or self.val_from)

    def rank_slice(self) -> RankSlice:
        t = self.trainer
        if t is None:
            return RankSlice()
        return RankSlice(t.global_rank, t.world_size, t.accumulate_grad_batches)

    def train_dataloader(self) -> DataLoader[Batch]:
        return self.loader(self.splits.train, self._augment, self.train_sampler())

    def train_sampler(self) -> TrainBatchSampler:
        n, ranks = len(self.splits.train), self.rank_slice()
        return TrainBatchSampler(n, self.seed, self.batch_size, ranks, self._position)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation(self.splits.val)

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation(self.splits.test)

    def _evaluation(self, images: LabelledImages) -> DataLoader[Batch]:
        order = EvalBatchSampler(len(images), self.eval_batch_size, self.rank_slice())
        return self.loader(images, self._evaluate, order)

    def calibration_batches(self, batches: int) -> Iterator[Batch]:
        """The batches of this process in the first `batches` steps of epoch 0, read anew.

        They serve to estimate the statistics of averaged weights: a resumed run sees the same ones.
        """
        ranks, images = self.rank_slice(), self.splits.train
        order = TrainBatchSampler(len(images), self.seed, self.batch_size, ranks, lambda: (0, 0))
        keys = [*islice(order, batches * ranks.accumulate)]
        yield from self.loader(images, self._augment, keys, persistent=False)

    def _position(self) -> tuple[int, int]:
        """The epoch and its finished batches, read when a pass begins: a resumed loader goes on there."""
        t = self.trainer
        if t is None:
            return 0, 0
        return t.current_epoch, t.fit_loop.epoch_loop.batch_progress.current.ready

    def loader(
        self,
        images: LabelledImages,
        pipeline: Pipeline,
        batches: Iterable[list[SampleKey]],
        persistent: bool = True,
    ) -> DataLoader[Batch]:
        """Of `batches` of keys, by any pipeline: an evaluation by another protocol has one of its own."""
        workers = worker_count(self.workers)
        return batch_loader(
            Samples(images, pipeline, self.seed),
            batches,
            workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=persistent and workers > 0,
        )
