"""What probabilities are worth: exact counts, their intervals, classes, calibration."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BINS = 15
Z = 1.959963984540054
"""Of 95 %."""


@dataclass(frozen=True)
class Counts:
    n: int
    top1: int
    top5: int
    nll: float
    """Mean of -log p(label), p no less than the smallest normal float32."""
    ece: float
    """Expected calibration error: mean |accuracy - confidence| over 15 bins of equal width."""
    five: NDArray[np.bool_]
    """[N]: whether the label is among the image's five most probable classes."""
    class_top5: NDArray[np.int64]
    """[K]: images of the class for which it is."""
    confusion: NDArray[np.int64]
    """[K, K]: images of the row's class that were taken for the column's."""
    best: NDArray[np.int64]
    """[N]: the most probable class of each image."""

    def results(self) -> dict[str, Any]:
        """Plain numbers; intervals are Wilson's, of 95 %."""
        return {
            "n": self.n,
            "top1": self.top1,
            "top5": self.top5,
            "top1_interval": wilson(self.top1, self.n),
            "top5_interval": wilson(self.top5, self.n),
            "nll": self.nll,
            "ece": self.ece,
        }

    def classes(self, names: list[str]) -> list[dict[str, Any]]:
        """Counts of each class."""
        n, top1 = self.confusion.sum(1), self.confusion.diagonal()
        columns = zip(names, n.tolist(), top1.tolist(), self.class_top5.tolist(), strict=True)
        return [{"class": c, "n": n, "top1": a, "top5": b} for c, n, a, b in columns]


def counted(parts: Iterable[NDArray[Any]], labels: NDArray[np.int64]) -> Counts:
    """Of probabilities [n, K] in parts, whose rows are in the order of `labels`."""
    best, confidence, of_label, hit5 = [], [], [], []
    classes = start = 0
    for part in parts:
        rows = torch.from_numpy(np.array(part))
        classes = rows.shape[1]
        truth = torch.from_numpy(np.array(labels[start : start + len(rows)]))
        values, top = rows.topk(min(5, classes), dim=1)
        best.append(top[:, 0])
        confidence.append(values[:, 0])
        of_label.append(rows.gather(1, truth[:, None])[:, 0])
        hit5.append(top.eq(truth[:, None]).any(1))
        start += len(rows)
    assert start == len(labels), f"{start} of {len(labels)} images"  # noqa: S101
    guess, five = torch.cat(best).numpy(), torch.cat(hit5).numpy()
    right = guess == labels
    tiny = float(np.finfo(np.float32).tiny)
    return Counts(
        n=start,
        top1=int(right.sum()),
        top5=int(five.sum()),
        nll=float(-torch.cat(of_label).double().clamp_min(tiny).log().mean()),
        ece=calibration_error(torch.cat(confidence).double().numpy(), right),
        five=five,
        class_top5=np.bincount(labels[five], minlength=classes),
        confusion=np.bincount(labels * classes + guess, minlength=classes**2).reshape(
            classes, classes
        ),
        best=guess,
    )


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Bins (0, 1/15], (1/15, 2/15] …, weighted by their images (Naeini et al., 2015)."""
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(place, right - confidence, BINS)
    return float(np.abs(gaps).sum() / len(right))


def gain_interval(before: Counts, after: Counts) -> list[float]:
    """The 95 % interval of the difference of two top-5 errors, in -1..1: below 0 is a gain.

    Of the same images in the same order, so it is the mean of a difference an image; normal
    approximation.
    """
    each = before.five.astype(float) - after.five
    half = Z * float(each.std()) / math.sqrt(len(each))
    return [float(each.mean()) - half, float(each.mean()) + half]


def wilson(right: int, n: int) -> list[float]:
    """The 95 % interval of a share, in 0..1 (Wilson, 1927)."""
    share, spread = right / n, Z * Z / n
    middle = share + spread / 2
    half = Z * math.sqrt(share * (1 - share) / n + spread / n / 4)
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return [max(low, 0.0), min(high, 1.0)]
