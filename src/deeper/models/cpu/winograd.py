"""3×3 convolutions in float32 with a quarter of the multiplications (Winograd's minimal filtering).

Lavin and Gray (2016, arXiv 1509.09308, §4): each tile of 4×4 pixels of the result is computed from 36
transformed values of the images and of the kernel, so that a convolution is 36 matrix products.
bfloat16 has too few bits for the sums of the transformations.
"""

from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deeper.models.cpu import library

POINTS = torch.tensor(
    [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
     [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]], dtype=torch.float64,
)  # fmt: skip
KERNEL = torch.kron(POINTS, POINTS).float()
"""[36, 9], G·g·Gᵀ of the paper for a kernel's nine values."""

CACHE = 2**24
"""Bytes of transformed values at a time: as many images as stay below it, at least one."""

FEWEST_TILES, FEWEST_CHANNELS = 32, 48
"""Of a batch, and of input and output. With fewer, the transformations take longer than is won (on AVX2)."""


class Conv3x3(nn.Conv2d):
    """As `nn.Conv2d` with a relative error of 2e-6 instead of 5e-7, gradients included.

    The error is that of a whole result. Beside a much larger value others are less exact, and an infinite
    one makes NaN of the 4×4 pixels around it. There are no second derivatives, and no `torch.func`.
    """

    @staticmethod
    def fits(conv: nn.Conv2d) -> bool:
        usual = conv.stride == conv.dilation == (1, 1) and conv.groups == 1
        padded = conv.padding == (1, 1) and conv.padding_mode == "zeros"
        channels = (conv.in_channels, conv.out_channels)
        many = min(channels) >= FEWEST_CHANNELS and all(c % 8 == 0 for c in channels)
        return usual and padded and many and conv.kernel_size == (3, 3)

    def forward(self, x: Tensor) -> Tensor:
        if not self.takes(x):
            return super().forward(x)
        return _Convolution.apply(x, self.weight, self.bias)  # type: ignore[no-any-return]

    def takes(self, x: Tensor) -> bool:
        if not library.takes(x) or x.dim() != 4 or torch.is_autocast_enabled("cpu"):
            return False
        tensors = [x, *self.parameters(recurse=False)]
        if any(t.dtype != torch.float32 for t in tensors) or x.shape[1] != self.in_channels:
            return False
        return len(x) * _tiles(x) >= FEWEST_TILES


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return convolution(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        grad_x = None
        if wanted[0]:
            with torch.autocast("cpu", enabled=False):  # as in the forward pass
                grad_x = convolution(grad, weight.flip(2, 3).transpose(0, 1))
        _, *others = torch.ops.aten.convolution_backward(
            grad, x, weight, [len(weight)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1,
            [False, wanted[1], wanted[2]],
        )  # fmt: skip
        return grad_x, *others


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False
) -> Tensor:
    """[B, C, H, W] and [D, C, 3, 3] → [B, D, H, W], padded by a pixel; C and D are multiples of 8."""
    x = x.contiguous(memory_format=torch.channels_last)
    (batch, channels, *size), out = x.shape, len(weight)
    transformed = KERNEL @ weight.permute(2, 3, 0, 1).reshape(9, -1)
    kernels = transformed.view(36, out, channels).transpose(1, 2)
    plus = x.new_zeros(out) if bias is None else bias.contiguous()
    y = torch.empty(
        (batch, out, *size), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )
    values = 36 * _tiles(x)  # of a channel of an image
    together = min(max(CACHE // (4 * values * (channels + out)), 1), batch)
    inputs, outputs = (x.new_empty(together * values * c) for c in (channels, out))
    for part, result in zip(torch.split(x, together), torch.split(y, together), strict=True):
        used = len(part) * values
        before = inputs[: used * channels].view(36, -1, channels)
        products = outputs[: used * out].view(36, -1, out)
        shape, out_shape = (torch.tensor([len(part), *size, c]) for c in (channels, out))
        library.call("winograd_input", x.dtype, part, shape, before)
        torch.bmm(before, kernels, out=products)
        library.call("winograd_output", x.dtype, products, plus, int(relu), out_shape, result)
    return y


def _tiles(x: Tensor) -> int:
    """Of an image."""
    return ceil(x.shape[2] / 4) * ceil(x.shape[3] / 4)
