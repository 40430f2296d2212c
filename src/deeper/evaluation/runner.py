"""The evaluation pass: networks over all views of a split, on any number of processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from deeper.data.datamodule import ImageData
from deeper.data.dataset import Pipeline
from deeper.data.sampler import RankSlice, ViewSampler
from deeper.data.source import LabelledImages
from deeper.evaluation.chunks import Chunk, Chunks
from deeper.evaluation.fusion import Fused, Fusion
from deeper.evaluation.protocol import Looks, crops

AT_ONCE = 4096
"""Pictures whose probabilities processes exchange at a time."""


@dataclass(frozen=True)
class Job:
    """One network by one protocol over one set of pictures."""

    net: nn.Module
    """uint8 [B, 3, S, S] → logits [B, K]"""
    looks: Looks
    size: int
    """S"""
    images: LabelledImages
    keep: Callable[[Tensor], None]
    """Called in the first process with probabilities, float32 [N, K]."""

    def chunks(self, data: ImageData, shard: RankSlice) -> Chunks:
        views = crops(self.looks)
        order = ViewSampler(len(self.images), views, data.eval_batch_size, shard)
        pipeline = Pipeline({"protocol": self.looks}, self.size, views)
        loader = data.view_dataloader(self.images, pipeline, order)
        return Chunks(loader, len(order.keys), views, data.eval_batch_size)


class Judge(L.LightningModule):
    """Softmax in float32, fused over views; `keep` of a job is called as soon as it is through.

    `jobs` is called when all processes are there, with what makes a value that of the first of them.
    """

    def __init__(
        self, jobs: Callable[[Callable[[Any], Any]], Sequence[Job]], data: ImageData, fusion: Fusion
    ) -> None:
        super().__init__()
        self._jobs, self.data, self.fusion = jobs, data, fusion

    def setup(self, stage: str) -> None:
        self.jobs = [*self._jobs(self.trainer.strategy.broadcast)]
        self.nets = nn.ModuleList(dict.fromkeys(job.net for job in self.jobs))
        if self.jobs:
            self._start(0)

    def val_dataloader(self) -> list[Chunks]:
        self.data.attach(self.trainer)  # so that batches travel while the device computes
        shard = RankSlice(self.trainer.global_rank, self.trainer.world_size)
        return [job.chunks(self.data, shard) for job in self.jobs]

    def validation_step(self, chunk: Chunk, batch_idx: int, dataloader_idx: int = 0) -> None:
        if dataloader_idx != self._at:
            self._finish()
            self._start(dataloader_idx)
        logits = self.jobs[self._at].net(chunk.images)
        self._fused.add(logits.float().softmax(1), chunk.index)

    def on_validation_epoch_end(self) -> None:
        self._finish()

    def _start(self, job: int) -> None:
        self._at = job
        self._fused = Fused(crops(self.jobs[job].looks), self.fusion)

    def _finish(self) -> None:
        job = self.jobs[self._at]
        rows, index = self._gathered(*self._fused.pictures())
        n = len(job.images)
        seen = torch.bincount(index, minlength=n)
        assert seen.eq(1).all(), f"{int(seen.ne(1).sum())} of {n} images not seen once"  # noqa: S101
        assert len(seen) == n, f"{len(seen)} images seen of {n}"  # noqa: S101
        if self.trainer.is_global_zero:
            job.keep(torch.empty_like(rows).index_copy_(0, index, rows))

    def _gathered(self, rows: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Of all processes. They have unequally many pictures, and exchange equally many."""
        if self.trainer.world_size == 1:
            return rows, index
        most = int(self._all(torch.tensor([len(rows)])).max())
        spare = most - len(rows)
        rows = torch.cat([rows, rows.new_zeros(spare, rows.shape[1])])
        index = torch.cat([index, index.new_full((spare,), -1)])
        parts = [
            (self._all(rows[i : i + AT_ONCE]), self._all(index[i : i + AT_ONCE]))
            for i in range(0, most, AT_ONCE)
        ]
        rows, index = (torch.cat(part) for part in zip(*parts, strict=True))
        return rows[index >= 0], index[index >= 0]

    def _all(self, tensor: Tensor) -> Tensor:
        gathered = self.all_gather(tensor.to(self.device))
        assert isinstance(gathered, Tensor)  # noqa: S101
        return gathered.flatten(0, 1).cpu()
