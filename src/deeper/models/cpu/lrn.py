"""Local response normalisation in one pass."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeper.models.cpu import library
from deeper.models.cpu.library import rows_of
from deeper.models.lrn import LocalResponseNorm


class LRN(LocalResponseNorm):
    """As its base class, which works in blocks of pixels, but in one pass."""

    def forward(self, images: Tensor) -> Tensor:
        if not library.takes(images):
            return super().forward(images)
        below, above = self.size // 2, (self.size - 1) // 2
        constants = (below, above, self.alpha / self.size, float(self.beta), float(self.k))
        return _LRN.apply(images, constants)  # type: ignore[no-any-return]


class _LRN(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, constants: tuple[int | float, ...]) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        y, channels = torch.empty_like(x), x.shape[1]
        library.call("lrn_forward", x.dtype, x, x.numel() // channels, channels, *constants, y)
        ctx.save_for_backward(x)
        ctx.constants = constants
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        grad, stride = rows_of(grad)
        grad_x, channels = torch.empty_like(x), x.shape[1]
        library.call(
            "lrn_backward", x.dtype, grad, stride, x, x.numel() // channels, channels,
            *ctx.constants, grad_x,
        )  # fmt: skip
        return grad_x, None
