"""Mixup and CutMix of a batch, on the batch's device."""

import math

import torch
import torch.nn.functional as F
from numpy.random import Generator, default_rng
from torch import Tensor


class Mix:
    """Mixup (Zhang et al., 2018) or CutMix (Yun et al., 2019) of each image with the next in its batch.

    An image's fraction is drawn from Beta(α, α) once for a batch; α = 0 turns a method off, and with
    both on, each is used for half of the batches. `prob` is the fraction of batches that are mixed.
    Batches are shuffled, so the next image is a random one.
    """

    def __init__(
        self, mixup_alpha: float = 0.0, cutmix_alpha: float = 0.0, prob: float = 1.0
    ) -> None:
        if min(mixup_alpha, cutmix_alpha) < 0:
            raise ValueError(
                f"mixup_alpha={mixup_alpha}, cutmix_alpha={cutmix_alpha}: must be at least 0"
            )
        if not 0 <= prob <= 1:
            raise ValueError(
                f"prob={prob}: the fraction of batches that are mixed; must be in 0..1"
            )
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
        """uint8 [B, 3, H, W] and int64 [B] → images in 0..255 and probabilities [B, `classes`].

        Both are returned unchanged where nothing is mixed. All draws follow from `seed`; no global
        generator is used, so dropout is the same with and without mixing.
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
        """`share` of each image plus 1 - `share` of the next, as float without rounding."""
        own = images.float()
        return own.lerp(_neighbours(own), 1 - share), share

    @staticmethod
    def cutmix(images: Tensor, share: float, random: Generator) -> tuple[Tensor, float]:
        """A box with 1 - `share` of the area is copied from the next image, around a random centre and
        clipped at the border. Returns the fraction that is left of the image.
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
    """The next element for each element; cat keeps channels_last, which roll does not."""
    return torch.cat([batch[1:], batch[:1]])
