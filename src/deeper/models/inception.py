"""The Inception module in its four forms. `Reduced` is figure 2b, read top to bottom."""

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from deeper.models.norm import NormScheme


class Widths(NamedTuple):
    """One row of Table 1: the output channels of each convolution of a module."""

    conv1x1: int
    reduce3x3: int
    conv3x3: int
    reduce5x5: int
    conv5x5: int
    pool_proj: int


class ConvNormAct(nn.Module):
    """Convolution, what the norm scheme puts behind it, ReLU (§5: reductions and projections too)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, norm: NormScheme, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=norm.conv_bias
        )
        self.norm = norm.after_conv(out_channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))  # type: ignore[no-any-return]


class Block(Protocol):
    """How a network makes a module: `block(in_channels, widths, norm)`; it says its `out_channels`."""

    def __call__(self, in_channels: int, widths: Widths, norm: NormScheme) -> nn.Module: ...


class Reduced(nn.Module):
    """Figure 2b: 1×1 convolutions shrink what the 3×3 and the 5×5 see, and project the pool.

    `kernel5x5` is the true kernel of the 5×5: TF-slim's and torchvision's version has 3 there.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Widths,
        norm: NormScheme,
        *,
        kernel5x5: Literal[3, 5] = 5,
    ) -> None:
        if kernel5x5 not in (3, 5):
            raise ValueError(f"kernel5x5={kernel5x5}: choose from 5 (figure 2b), 3 (torchvision)")
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
    """Figure 2a, to the letter: no reductions, and the pool joins unprojected, so channels pile up."""

    def __init__(self, in_channels: int, widths: Widths, norm: NormScheme) -> None:
        super().__init__()
        self.conv1x1 = ConvNormAct(in_channels, widths.conv1x1, 1, norm)
        self.conv3x3 = ConvNormAct(in_channels, widths.conv3x3, 3, norm)
        self.conv5x5 = ConvNormAct(in_channels, widths.conv5x5, 5, norm)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.out_channels = widths.conv1x1 + widths.conv3x3 + widths.conv5x5 + in_channels

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv1x1(x), self.conv3x3(x), self.conv5x5(x), self.pool(x)], dim=1)


class NaiveProjected(nn.Module):
    """Figure 2a with the pool's projection kept, so that modules keep Table 1's output widths."""

    def __init__(self, in_channels: int, widths: Widths, norm: NormScheme) -> None:
        super().__init__()
        self.conv1x1 = ConvNormAct(in_channels, widths.conv1x1, 1, norm)
        self.conv3x3 = ConvNormAct(in_channels, widths.conv3x3, 3, norm)
        self.conv5x5 = ConvNormAct(in_channels, widths.conv5x5, 5, norm)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.pool_proj = ConvNormAct(in_channels, widths.pool_proj, 1, norm)
        self.out_channels = widths.conv1x1 + widths.conv3x3 + widths.conv5x5 + widths.pool_proj

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool_proj(self.pool(x))
        return torch.cat([self.conv1x1(x), self.conv3x3(x), self.conv5x5(x), pooled], dim=1)


class NoPool(Reduced):
    """Figure 2b without its pooling path (§4: it "should have additional beneficial effect")."""

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
