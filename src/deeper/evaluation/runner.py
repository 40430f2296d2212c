"""One evaluation pass: a network over all crops of a set of images, on any number of processes."""

from collections.abc import Callable
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor, nn

from deeper.data.batch import Batch
from deeper.data.datamodule import ImageData
from deeper.data.dataset import Pipeline
from deeper.data.sampler import EvalBatchSampler, RankSlice
from deeper.data.source import LabelledImages
from deeper.evaluation.protocol import CropProtocol, crop_count
from deeper.training.metrics import gathered

Fusion = Literal["mean", "max"]


class Evaluator(L.LightningModule):
    """Predicts the probabilities of `images`, averaged over the crops of `protocol`.

    `net` maps uint8 [B, 3, S, S] to logits [B, K]. `save` is called in the first process with float32
    [N, K]. Where `needed` is false in the first process, no process computes anything.

    The crops of an image stay in one batch, and the images of a batch don't depend on the number of
    processes, so neither do the probabilities, bit for bit.
    """

    def __init__(
        self,
        net: nn.Module,
        protocol: CropProtocol,
        size: int,
        images: LabelledImages,
        data: ImageData,
        fusion: Fusion,
        save: Callable[[Tensor], None],
        needed: bool = True,
    ) -> None:
        super().__init__()
        self.net, self.images, self.data, self.fusion = net, images, data, fusion
        self.save, self.needed = save, needed
        self.crops = crop_count(protocol)
        self.pipeline = Pipeline({"protocol": protocol}, size, self.crops)
        self.found: list[tuple[Tensor, Tensor]] = []

    def val_dataloader(self) -> Any:
        if not self.trainer.strategy.broadcast(self.needed):
            return []
        return self.batches(RankSlice(self.trainer.global_rank, self.trainer.world_size))

    def batches(self, ranks: RankSlice) -> Any:
        """Batches of whole images, with about `eval_batch_size` crops each, and at least one image."""
        batch = max(round(self.data.eval_batch_size / self.crops), 1)
        order = EvalBatchSampler(len(self.images), batch, ranks)
        return self.data.loader(self.images, self.pipeline, order, persistent=False)

    def validation_step(self, batch: Batch, batch_idx: int = 0) -> None:
        self.found.append((self.probabilities(batch.images), batch.index.where(batch.valid, -1)))

    def probabilities(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] or [B, V, 3, S, S] → float32 [B, K].

        §5 averages the softmax over crops; the maximum, rescaled to sum 1, is its "inferior" alternative.
        """
        crops = images.flatten(0, 1) if images.dim() == 5 else images
        parts = crops.tensor_split(max(round(len(crops) / self.data.eval_batch_size), 1))
        p = torch.cat([self.net(part).float().softmax(1) for part in parts])
        p = p.view(len(images), self.crops, -1)
        if self.fusion == "mean":
            return p.mean(1)
        best = p.amax(1)
        return best / best.sum(1, keepdim=True)

    def on_validation_epoch_end(self) -> None:
        rows, index = (
            gathered(self, torch.cat(parts)).cpu() for parts in zip(*self.found, strict=True)
        )
        rows, index = rows[index >= 0], index[index >= 0]
        n = len(self.images)
        assert index.sort().values.equal(torch.arange(n)), f"not each of {n} images once"  # noqa: S101
        if self.trainer.is_global_zero:
            self.save(torch.empty_like(rows).index_copy_(0, index, rows))
