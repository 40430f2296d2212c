"""Preprocessing: from pixels to the input of a network. A module, so that checkpoints contain it."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def resized(images: Tensor, size: int) -> Tensor:
    """uint8 [B, 3, S, S] → [B, 3, `size`, `size`], antialiased; float on a GPU, without kernel for uint8."""
    if images.shape[-1] == size:
        return images
    pixels = images if images.device.type == "cpu" else images.float()
    return F.interpolate(pixels, (size, size), mode="bilinear", antialias=True)


class Preprocess(nn.Module):
    """RGB on 0..255, uint8 or float [B, 3, H, W] → float32, (x·scale − mean) / std.

    `channels` is the order of the output's channels, and of `mean` and `std`, which are on the range
    of x·scale.
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
        # Constants are repeated along a row: on a CPU, broadcasting three values takes four times as long.
        zero, gain = (
            c.expand(1, 3, 1, images.shape[3]).contiguous(memory_format=torch.channels_last)
            for c in (self.mean / self.scale, self.scale / self.std)
        )
        result = images.to(torch.float32, memory_format=torch.channels_last, copy=True)
        return torch.addcmul(-zero * gain, result, gain, out=result)
