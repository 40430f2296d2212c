"""From pixels as stored to what a network wants. A module, so that it is saved with the weights."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn


class Preprocess(nn.Module):
    """uint8 RGB [B, 3, H, W] → float [B, 3, H, W], (x·scale − mean) / std in the wanted channel order.

    `mean` and `std` are in the wanted order and on the scaled range.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        scale: float = 1 / 255,
        channels: Literal["rgb", "bgr"] = "rgb",
    ) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean={mean}, std={std}: three values each, std above 0")
        self.scale, self.channels = scale, channels
        self.register_buffer("mean", torch.tensor([*mean], dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([*std], dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if self.channels == "bgr":
            images = images.flip(1)
        result = (images * self.scale).sub_(self.mean).div_(self.std)
        return result.contiguous(memory_format=torch.channels_last)
