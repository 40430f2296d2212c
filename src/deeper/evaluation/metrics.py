"""Metrics of predicted probabilities: exact counts, confidence intervals, per class, calibration."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BINS = 15
Z = 1.959963984540054
"""Quantile of the normal distribution for an interval of 95 %."""


@dataclass(frozen=True)
class Metrics:
    """Metrics of N images of K classes. An image with a non-finite probability counts as wrong."""

    n: int
    nll: float
    """Mean of -log p(label), with p at least the smallest normal float32."""
    ece: float
    """Expected calibration error: mean |accuracy - confidence| over 15 bins of equal width."""
    non_finite: int
    """Images with a probability that is NaN or infinite."""
    best: NDArray[np.int64]
    """[N]: the most probable class, -1 where a probability is not finite."""
    right1: NDArray[np.bool_]
    """[N]: whether the label is the most probable class."""
    right5: NDArray[np.bool_]
    """[N]: whether the label is among the five most probable classes."""
    class_n: NDArray[np.int64]
    """[K]: images of each class."""
    class_top5: NDArray[np.int64]
    """[K]: images of each class with the label among the five most probable classes."""
    confusion: NDArray[np.int64]
    """[K, K]: images of the row's class that were predicted as the column's class."""

    @property
    def top1(self) -> int:
        return int(self.right1.sum())

    @property
    def top5(self) -> int:
        return int(self.right5.sum())

    def results(self, split: str) -> dict[str, float]:
        """Under the names that a training uses; the loss is the negative log-likelihood."""
        n = self.n
        values = {"loss": self.nll, "top1": self.top1 / n, "top5": self.top5 / n, "n": float(n)}
        return {f"{split}/{name}": value for name, value in values.items()}

    def counts(self) -> dict[str, Any]:
        """Plain numbers, with Wilson's 95 % intervals."""
        return {
            "n": self.n,
            "top1": self.top1,
            "top5": self.top5,
            "top1_interval": wilson(self.top1, self.n),
            "top5_interval": wilson(self.top5, self.n),
            "nll": self.nll,
            "ece": self.ece,
            "non_finite": self.non_finite,
        }

    def classes(self, names: list[str]) -> list[dict[str, Any]]:
        """Counts of each class."""
        counts = (self.class_n, self.confusion.diagonal(), self.class_top5)
        columns = zip(names, *(column.tolist() for column in counts), strict=True)
        return [{"class": c, "n": n, "top1": a, "top5": b} for c, n, a, b in columns]


def compute_metrics(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> Metrics:
    """Of probabilities [N, K] and labels [N]."""
    n, classes = probabilities.shape
    p, truth = torch.from_numpy(probabilities).double(), torch.tensor(labels)[:, None]
    finite = p.isfinite().all(1)
    p = p.where(finite[:, None], 0)
    values, top = p.topk(min(5, classes), dim=1)
    best = top[:, 0].where(finite, -1).numpy()
    right1 = best == labels
    right5 = (top.eq(truth).any(1) & finite).numpy()
    tiny = float(np.finfo(np.float32).tiny)
    pairs = (labels * classes + best)[best >= 0]
    return Metrics(
        n=n,
        nll=float(-p.gather(1, truth).clamp_min(tiny).log().mean()),
        ece=calibration_error(values[:, 0].numpy(), right1),
        non_finite=n - int(finite.sum()),
        best=best,
        right1=right1,
        right5=right5,
        class_n=np.bincount(labels, minlength=classes),
        class_top5=np.bincount(labels[right5], minlength=classes),
        confusion=np.bincount(pairs, minlength=classes**2).reshape(classes, classes),
    )


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Bins (0, 1/15], (1/15, 2/15] …, weighted by their images (Naeini et al., 2015)."""
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(place, right - confidence, BINS)
    return float(np.abs(gaps).sum() / len(right))


def wilson(right: int, n: int) -> list[float]:
    """The 95 % interval of a proportion, in 0..1 (Wilson, 1927)."""
    share, spread = right / n, Z * Z / n
    middle = share + spread / 2
    half = Z * math.sqrt(share * (1 - share) / n + spread / n / 4)
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return [max(low, 0.0), min(high, 1.0)]


def difference_interval(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> list[float]:
    """The 95 % interval of the difference of two error rates on the same images, in -1..1; below 0
    `after` is better.

    Agresti and Min (2005, Statistics in Medicine 24): Wald's interval for matched pairs after adding
    1/2 to each of the four counts, so its width is above 0 even where no image differs. It covers
    the sampling of images, not the variation between training seeds.
    """
    n = len(before) + 2
    worse, better = (before & ~after).sum() + 0.5, (~before & after).sum() + 0.5
    difference = float(worse - better) / n
    half = Z * math.sqrt(float(worse + better) / n - difference**2) / math.sqrt(n)
    return [max(difference - half, -1.0), min(difference + half, 1.0)]
