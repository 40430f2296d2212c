"""The Inception module of figure 2b (`Reduced`), that of figure 2a (`Naive`), and two ablations."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from deeper.models.norm import NormScheme


class Widths(NamedTuple):
    """Output channels of each convolution of a module: a row of Table 1."""

    conv1x1: int
    reduce3x3: int
    conv3x3: int
    reduce5x5: int
    conv5x5: int
    pool_proj: int


def scaled_width(channels: int, width: float) -> int:
    """`channels` · `width` rounded to a multiple of 8, at least 8; `channels` itself for width 1."""
    return channels if width == 1 else max(8, int(channels * width / 8 + 0.5) * 8)


class ConvNormAct(nn.Module):
    """Convolution → the norm scheme's layer → ReLU, after reductions and projections too (§5)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, norm: NormScheme, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=norm.conv_bias
        )
        self.norm = norm.after_conv(out_channels)
        self.act: nn.Module = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))  # type: ignore[no-any-return]


Block = Callable[[int, Widths, NormScheme], nn.Module]
"""(input channels, widths, norm) → an Inception module, which has an attribute `out_channels`."""


class Reduced(nn.Module):
    """Figure 2b: 1×1 convolutions before the 3×3 and the 5×5 and after the pool.

    `kernel5x5` is the kernel of the 5×5 branch: TF-slim and torchvision have 3 there.
    """

    def __init__(
        self, in_channels: int, widths: Widths, norm: NormScheme, *, kernel5x5: Literal[3, 5] = 5
    ) -> None:
        super().__init__()
        w = widths
        self.conv1x1 = ConvNormAct(in_channels, w.conv1x1, 1, norm)
        self.reduce3x3 = ConvNormAct(in_channels, w.reduce3x3, 1, norm)
        self.conv3x3 = ConvNormAct(w.reduce3x3, w.conv3x3, 3, norm)
        self.reduce5x5 = ConvNormAct(in_channels, w.reduce5x5, 1, norm)
        self.conv5x5 = ConvNormAct(w.reduce5x5, w.conv5x5, kernel5x5, norm)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.pool_proj = ConvNormAct(in_channels, w.pool_proj, 1, norm)
        self.out_channels = w.conv1x1 + w.conv3x3 + w.conv5x5 + w.pool_proj

    def forward(self, x: Tensor) -> Tensor:
        branches = [
            self.conv1x1(x),
            self.conv3x3(self.reduce3x3(x)),
            self.conv5x5(self.reduce5x5(x)),
            self.pool_proj(self.pool(x)),
        ]
        return torch.cat(branches, dim=1)


class Naive(nn.Module):
    """Figure 2a: no reductions, and no projection of the pool, so that channels grow with every module.

    `scale` multiplies the widths.
    """

    def __init__(
        self, in_channels: int, widths: Widths, norm: NormScheme, *, scale: float = 1.0
    ) -> None:
        super().__init__()
        widths = Widths(*(scaled_width(channels, scale) for channels in widths))
        self.conv1x1 = ConvNormAct(in_channels, widths.conv1x1, 1, norm)
        self.conv3x3 = ConvNormAct(in_channels, widths.conv3x3, 3, norm)
        self.conv5x5 = ConvNormAct(in_channels, widths.conv5x5, 5, norm)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.out_channels = widths.conv1x1 + widths.conv3x3 + widths.conv5x5 + in_channels

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv1x1(x), self.conv3x3(x), self.conv5x5(x), self.pool(x)], dim=1)


class NaiveProjected(Naive):
    """Figure 2a with figure 2b's projection of the pool, so that outputs keep the widths of Table 1."""

    def __init__(
        self, in_channels: int, widths: Widths, norm: NormScheme, *, scale: float = 1.0
    ) -> None:
        super().__init__(in_channels, widths, norm, scale=scale)
        projected = scaled_width(widths.pool_proj, scale)
        self.pool_proj = ConvNormAct(in_channels, projected, 1, norm)
        self.out_channels += projected - in_channels

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool_proj(self.pool(x))
        return torch.cat([self.conv1x1(x), self.conv3x3(x), self.conv5x5(x), pooled], dim=1)


class NoPool(Reduced):
    """Figure 2b without its pooling branch (§4: it "should have additional beneficial effect")."""

    def __init__(self, in_channels: int, widths: Widths, norm: NormScheme) -> None:
        super().__init__(in_channels, widths, norm)
        del self.pool, self.pool_proj
        self.out_channels -= widths.pool_proj

    def forward(self, x: Tensor) -> Tensor:
        branches = [
            self.conv1x1(x),
            self.conv3x3(self.reduce3x3(x)),
            self.conv5x5(self.reduce5x5(x)),
        ]
        return torch.cat(branches, dim=1)
