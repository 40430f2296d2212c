"""Batch normalisation with its ReLU, and with the max-pooling after it.

For batch normalisation, ReLU and their gradients torch reads or writes a feature map 13 times, these
kernels 8 times.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deeper.models.cpu import library
from deeper.models.cpu.library import rows_of
from deeper.models.cpu.max_pool import MaxPool


class BatchNormReLU(nn.BatchNorm2d):
    """Batch normalisation, then ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.numel() // self.num_features
        fits = (
            x.shape[1] == self.num_features and self.affine and self.weight.dtype == torch.float32
        )
        if not (self.training and fits and rows > 1 and library.takes(x)):
            return self._plain(x)
        y, mean, variance = self._fused(x)
        if self.running_mean is not None and self.running_var is not None:
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            new = self.momentum if self.momentum is not None else 1 / int(self.num_batches_tracked)  # type: ignore[arg-type]
            self.running_mean.lerp_(mean, new)
            self.running_var.lerp_(variance * (rows / (rows - 1)), new)
        return y

    def _plain(self, x: Tensor) -> Tensor:
        return F.relu_(super().forward(x))

    def _fused(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The layer's output, and the batch's mean and biased variance."""
        return _BatchNormReLU.apply(x, self.weight, self.bias, float(self.eps))  # type: ignore[no-any-return]


class _BatchNormReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Any:
        x, x_stride = rows_of(x)
        rows, channels = x.numel() // x.shape[1], x.shape[1]
        y = torch.empty(x.shape, dtype=x.dtype, memory_format=torch.channels_last)
        mean, variance, scale, shift = statistics = x.new_empty(4, channels, dtype=torch.float32)
        library.call(
            "batch_norm_relu_forward", x.dtype, x, x_stride, rows, channels, weight, bias, eps,
            y, mean, variance, scale, shift,
        )  # fmt: skip
        ctx.save_for_backward(x, statistics)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, statistics = ctx.saved_tensors
        (grad, stride), (x, x_stride) = rows_of(grad), rows_of(x)
        grad_x = torch.empty(x.shape, dtype=x.dtype, memory_format=torch.channels_last)
        grad_weight, grad_bias = torch.empty_like(statistics[:2])
        library.call(
            "batch_norm_relu_backward", x.dtype, grad, stride, x, x_stride,
            x.numel() // x.shape[1], x.shape[1], ctx.eps, *statistics,
            grad_x, grad_weight, grad_bias,
        )  # fmt: skip
        return grad_x, grad_weight, grad_bias, None


class BatchNormReLUPool(BatchNormReLU):
    """Batch normalisation, ReLU, then max-pooling, whose input is not kept."""

    pool: MaxPool

    def _plain(self, x: Tensor) -> Tensor:
        return self.pool(super()._plain(x))  # type: ignore[no-any-return]

    def _fused(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        eps, pool = float(self.eps), self.pool.geometry(x)
        return _BatchNormReLUPool.apply(x, self.weight, self.bias, eps, *pool)  # type: ignore[no-any-return]


class _BatchNormReLUPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, size: Any, pool: Tensor
    ) -> Any:
        x = x.contiguous(memory_format=torch.channels_last)
        y = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)
        source, index = torch.empty_like(y), torch.empty_like(y, dtype=torch.uint8)
        statistics = x.new_empty(4, x.shape[1], dtype=torch.float32)
        library.call(
            "batch_norm_relu_pool_forward", x.dtype, x, pool, weight, bias, eps,
            y, source, index, *statistics,
        )  # fmt: skip
        ctx.save_for_backward(x, source, index, statistics, pool)
        ctx.eps = eps
        mean, variance = statistics[:2]
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, source, index, statistics, pool = ctx.saved_tensors
        grad, stride = rows_of(grad)
        grad_x, (grad_weight, grad_bias) = torch.empty_like(x), torch.empty_like(statistics[:2])
        library.call(
            "batch_norm_relu_pool_backward", x.dtype, grad, stride, x, source, index, pool, ctx.eps,
            *statistics, grad_x, grad_weight, grad_bias,
        )  # fmt: skip
        return grad_x, grad_weight, grad_bias, None, None, None
