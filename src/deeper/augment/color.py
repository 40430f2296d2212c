"""Photometric distortions, which §6 takes from Howard (2013), on uint8 [3, H, W] RGB."""

import random

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

PCA_VALUES = (0.2175, 0.0188, 0.0045)
"""Eigenvalues of the RGB covariance of ImageNet's training pixels on the range 0..1."""

PCA_VECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
"""Rows are R, G, B; columns belong to `PCA_VALUES` (Krizhevsky et al., 2012, §4.1)."""


STEPS = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
"""Each blends the image with black, with its mean grey, or with its grey version: factor · image +
(1 − factor) · other, as Pillow's ImageEnhance, which Howard used."""


class Photometric:
    """Brightness, contrast and saturation by a factor in 1 ± `amount` each, in random order; then PCA noise.

    Howard's range is 0.5–1.5. `pca_std` is the standard deviation of the noise along each principal
    component, in units of its eigenvalue (AlexNet: 0.1).
    """

    def __init__(self, amount: float = 0.5, pca_std: float = 0.1) -> None:
        if not 0 <= amount <= 1:
            raise ValueError(f"amount={amount}: must lie in 0..1")
        self.amount, self.pca_std = amount, pca_std
        self._shift = torch.tensor(PCA_VECTORS) * torch.tensor(PCA_VALUES) * 255

    def __call__(self, image: Tensor) -> Tensor:
        steps = list(STEPS)
        random.shuffle(steps)
        for adjust in steps:
            image = adjust(image, random.uniform(1 - self.amount, 1 + self.amount))
        noise = self._shift @ (torch.randn(3) * self.pca_std)
        return image.float().add_(noise.view(3, 1, 1)).round_().clamp_(0, 255).to(torch.uint8)
