"""Max-pooling. Torch stores the place of a pooled value in 8 bytes, these kernels in one."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deeper.models.cpu import library
from deeper.models.cpu.library import rows_of


class MaxPool(nn.MaxPool2d):
    """Max-pooling with square windows of at most 15 pixels a side."""

    @staticmethod
    def fits(pool: nn.MaxPool2d) -> bool:
        size = pool.kernel_size
        square = isinstance(pool.stride, int) and isinstance(pool.padding, int)
        small = isinstance(size, int) and size <= 15
        return square and small and pool.dilation == 1 and not pool.return_indices

    def forward(self, x: Tensor) -> Tensor:
        if not library.takes(x) or x.dim() != 4:
            return super().forward(x)  # type: ignore[no-any-return]
        return _MaxPool.apply(x, *self.geometry(x))  # type: ignore[no-any-return]

    def geometry(self, x: Tensor) -> tuple[torch.Size, Tensor]:
        """The size of the result, and the struct `Pool` of kernels.cpp."""
        with torch.device("meta"):  # torch checks the arguments and finds the size of the result
            size = super().forward(torch.empty(x.shape)).shape
        batch, channels, height, width = x.shape
        window = (self.kernel_size, self.stride, self.padding)
        return size, torch.tensor([batch, height, width, channels, *size[2:], *window])


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: torch.Size, pool: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        y = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)
        index = torch.empty_like(y, dtype=torch.uint8)
        library.call("max_pool_forward", x.dtype, x, pool, y, index)
        ctx.save_for_backward(index)
        ctx.pool, ctx.shape = pool, x.shape
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        grad, stride = rows_of(grad)
        grad_x = torch.empty(ctx.shape, dtype=grad.dtype, memory_format=torch.channels_last)
        library.call("max_pool_backward", grad.dtype, grad, stride, index, ctx.pool, grad_x)
        return grad_x, None, None


class MaxPoolReLU(MaxPool):
    """ReLU after the pool, of fewer values, which is the same as before it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(super().forward(x))
