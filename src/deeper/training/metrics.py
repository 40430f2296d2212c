"""Exact counts over a whole data set, on any number of processes."""

import torch
from torch import Tensor
from torchmetrics import Metric


class TopK(Metric):
    """Images seen and images right among the 1 and the 5 most probable classes, as integers.

    Padding (`valid` false) counts for nothing. With fewer than 5 classes, top5 counts them all.
    """

    full_state_update = False
    n: Tensor
    top1: Tensor
    top5: Tensor
    loss: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("n", "top1", "top5"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("loss", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor, losses: Tensor, valid: Tensor) -> None:
        """`logits` [B, K], `labels` int64 [B], `losses` [B] of each image, `valid` bool [B]."""
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices
        hits = best.eq(labels[:, None]) & valid[:, None]
        self.n += valid.sum()
        self.top1 += hits[:, 0].sum()
        self.top5 += hits.sum()
        self.loss += torch.where(valid, losses, 0).double().sum()

    def compute(self) -> dict[str, Tensor]:
        """Shares in 0..1 (float64), the mean loss, and `n`."""
        n = self.n.double()
        return {
            "loss": self.loss / n,
            "top1": self.top1 / n,
            "top5": self.top5 / n,
            "n": self.n,
        }
