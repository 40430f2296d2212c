"""Two pictures in one, with both their labels: a batch at a time, on its own device."""

import math

import torch
import torch.nn.functional as F
from numpy.random import Generator, default_rng
from torch import Tensor


class Mix:
    """Mixup (Zhang et al., 2018) or CutMix (Yun et al., 2019) of each picture with its neighbour.

    The share of a picture is drawn from Beta(α, α) for a whole batch, α = 0 meaning never; where
    both have an α, either comes half of the time. `prob` is the share of batches that are mixed.
    The order is shuffled, so that the neighbour is a picture drawn at random.
    """

    def __init__(
        self, mixup_alpha: float = 0.0, cutmix_alpha: float = 0.0, prob: float = 1.0
    ) -> None:
        if min(mixup_alpha, cutmix_alpha) < 0:
            raise ValueError(
                f"mixup_alpha={mixup_alpha}, cutmix_alpha={cutmix_alpha}: must be at least 0"
            )
        if not 0 <= prob <= 1:
            raise ValueError(f"prob={prob}: the share of batches that are mixed, in 0..1")
        self.prob = prob
        kinds = [(self.mixup, mixup_alpha), (self.cutmix, cutmix_alpha)]
        self._kinds = [(kind, alpha) for kind, alpha in kinds if alpha > 0]

    @property
    def changes_labels(self) -> bool:
        """Whether labels become probabilities in some batch."""
        return bool(self._kinds) and self.prob > 0

    def __call__(
        self, images: Tensor, labels: Tensor, classes: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """uint8 [B, 3, H, W] and int64 [B] → pictures on 0..255 and probabilities [B, `classes`].

        Both come back as they were where nothing is mixed. `seed` decides everything; no generator
        is touched, so dropout is the same with and without.
        """
        random = default_rng(seed)
        if not self._kinds or random.random() >= self.prob:
            return images, labels
        kind, alpha = self._kinds[random.integers(len(self._kinds))]
        images, share = kind(images, random.beta(alpha, alpha), random)
        targets = F.one_hot(labels, classes).float()
        return images, targets.lerp(_neighbours(targets), 1 - share)

    @staticmethod
    def mixup(images: Tensor, share: float, random: Generator) -> tuple[Tensor, float]:
        """`share` of each picture and the rest of its neighbour, as float: nothing is rounded."""
        own = images.float()
        return own.lerp(_neighbours(own), 1 - share), share

    @staticmethod
    def cutmix(images: Tensor, share: float, random: Generator) -> tuple[Tensor, float]:
        """A box of 1 - `share` of the area from the neighbour, around any place; what lies outside
        of the picture is lost. The share that is left is answered.
        """
        height, width = images.shape[-2:]
        top, bottom = _span(height, math.sqrt(1 - share), random)
        left, right = _span(width, math.sqrt(1 - share), random)
        box = (..., slice(top, bottom), slice(left, right))
        result = images.clone()
        result[box] = _neighbours(images[box])
        return result, 1 - (bottom - top) * (right - left) / (height * width)


def _span(length: int, share: float, random: Generator) -> tuple[int, int]:
    center, half = int(random.integers(length)), round(share * length / 2)
    return max(center - half, 0), min(center + half, length)


def _neighbours(batch: Tensor) -> Tensor:
    """Each place gets what stands after it; cat keeps channels_last, which roll does not."""
    return torch.cat([batch[1:], batch[:1]])
