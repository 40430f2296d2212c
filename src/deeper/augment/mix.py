"""Mixup and CutMix of a batch, on the batch's device."""

import torch
from numpy.random import default_rng
from torch import Tensor
from torchvision.transforms import v2


class Mix:
    """Mixup (Zhang et al., 2018) or CutMix (Yun et al., 2019) of each image with its neighbour in the batch.

    An image's fraction is drawn from Beta(α, α) once for a batch; α = 0 turns a method off, and with
    both on, each is used for half of the batches. `prob` is the fraction of batches that are mixed.
    Batches are shuffled, so the neighbour is a random image.
    """

    def __init__(
        self, mixup_alpha: float = 0.0, cutmix_alpha: float = 0.0, prob: float = 1.0
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(
                f"prob={prob}: the fraction of batches that are mixed; must be in 0..1"
            )
        self.prob = prob
        kinds = [(v2.MixUp, mixup_alpha), (v2.CutMix, cutmix_alpha)]
        self._kinds = [(kind, alpha) for kind, alpha in kinds if alpha > 0]

    @property
    def changes_labels(self) -> bool:
        """Whether labels become probabilities in some batch."""
        return bool(self._kinds) and self.prob > 0

    def __call__(
        self, images: Tensor, labels: Tensor, classes: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """uint8 [B, 3, H, W] and int64 [B] → float images in 0..255 and probabilities [B, `classes`].

        Both are returned unchanged where nothing is mixed. All draws follow from `seed`, and the
        global generators stay as they are, so dropout is the same with and without mixing.
        """
        if not self._kinds or (random := default_rng(seed)).random() >= self.prob:
            return images, labels
        kind, alpha = self._kinds[random.integers(len(self._kinds))]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(random.integers(2**63)))
            mixed, targets = kind(alpha=alpha, num_classes=classes)(images.float(), labels)
        return mixed.contiguous(memory_format=torch.channels_last), targets
