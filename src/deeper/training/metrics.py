"""Validation metrics: exact accuracy over a whole split, and metrics of the user's own."""

from collections.abc import Callable, Mapping

import lightning as L
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

WRONG = 255
"""The largest rank of a label: as many classes or more are before it, or a logit is NaN."""


def label_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes have a larger logit than the label's, at most `WRONG`: uint8 [B] of [B, K].

    Of equal logits `torch.topk` decides which five are first.
    """
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hits = best.eq(labels[:, None])
    behind = (logits > logits.gather(1, labels[:, None])).sum(1).clamp(5, WRONG)
    ranks = torch.where(hits.any(1), hits.int().argmax(1), behind)
    return ranks.masked_fill(logits.isnan().any(1), WRONG).to(torch.uint8)


class TopK(Metric):
    """Exact top-1 and top-5 accuracy and mean loss, on any number of processes.

    Padding (`valid` false) is not counted. An image with a NaN among its logits counts as wrong.
    With fewer than 5 classes every other image is right in top5.
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

    def update(self, ranks: Tensor, losses: Tensor, valid: Tensor) -> None:
        """`ranks` as of `label_ranks`, `losses` [B] of each image, `valid` bool [B]."""
        self.n += valid.sum()
        self.top1 += (valid & (ranks < 1)).sum()
        self.top5 += (valid & (ranks < 5)).sum()
        self.loss += torch.where(valid, losses, 0).double().sum()

    def compute(self) -> dict[str, Tensor]:
        """Fractions in 0..1 (float64), the mean loss, and the number of images `n`."""
        n = self.n.double()
        return {"loss": self.loss / n, "top1": self.top1 / n, "top5": self.top5 / n, "n": self.n}


def collection(
    metrics: Mapping[str, Metric | Callable[..., Metric]], classes: int
) -> MetricCollection:
    """The config group `metrics`. A partial (`_partial_: true`) gets `num_classes` of the data.

    Each metric is updated with probabilities [B, K] and labels [B], and computes one number.
    """
    made: dict[str, Metric | MetricCollection] = {}
    for name, metric in metrics.items():
        if name in ("loss", "top1", "top5", "n"):
            raise ValueError(f"metrics.{name}: this name is taken; choose another")
        try:
            made[name] = metric if isinstance(metric, Metric) else metric(num_classes=classes)
        except (TypeError, ValueError) as error:  # torchmetrics' word for a wrong argument
            raise ValueError(f"metrics.{name}: {error}") from error
    return MetricCollection(made)


def single_numbers(computed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Raises `ValueError` for a metric of several numbers, which cannot be logged under one name."""
    for name, value in computed.items():
        if value.numel() != 1:
            raise ValueError(
                f"metrics.{name}: gives {value.numel()} numbers, and one is logged; most metrics "
                f"of torchmetrics give one with average=macro"
            )
    return {name: value.float() for name, value in computed.items()}


def gathered(module: L.LightningModule, rows: Tensor) -> Tensor:
    """[N, …] of all processes, each of which has equally many, with padding."""
    if module.trainer.world_size == 1:
        return rows
    return module.all_gather(rows.contiguous()).flatten(0, 1)  # type: ignore[union-attr]


def log_row(trainer: L.Trainer, row: Mapping[str, float]) -> None:
    """Write one row to all loggers, under the number of optimizer steps that were done.

    Lightning would log a validation under the step before.
    """
    for logger in trainer.loggers:
        logger.log_metrics({**row, "epoch": trainer.current_epoch}, step=trainer.global_step)
        logger.save()
