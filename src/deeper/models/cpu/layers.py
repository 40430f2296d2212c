"""Batch normalisation with its ReLU, max-pooling and local response normalisation on a CPU.

For batch normalisation, ReLU and their gradients torch reads or writes a feature map 13 times, these
kernels 8 times; of a pooled value torch stores the place in 8 bytes, these kernels in one.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deeper.models.cpu import library
from deeper.models.inception import ConvNormAct
from deeper.models.lrn import LocalResponseNorm


def use_kernels(net: nn.Module, cache: Path) -> None:
    """Let the layers of `net` that have kernels use them; parameters, buffers and names stay.

    Kernels are compiled into the folder `cache`. Raises `OSError` where that does not succeed.
    """
    library.load(cache)
    for module in [*net.modules()]:
        if type(module) is ConvNormAct and _kinds(module) == (nn.BatchNorm2d, nn.ReLU):
            module.norm.__class__, module.act = BatchNormReLU, nn.Identity()
        elif type(module) is ConvNormAct and _kinds(module) == (nn.Identity, nn.ReLU):
            module.__class__ = ConvReLU
        elif type(module) is nn.MaxPool2d and MaxPool.fits(module):
            module.__class__ = MaxPool
        elif type(module) is LocalResponseNorm:
            module.__class__ = LRN


def _kinds(block: ConvNormAct) -> tuple[type, type]:
    """Subclasses may do something else."""
    return type(block.norm), type(block.act)


class BatchNormReLU(nn.BatchNorm2d):
    """Batch normalisation, then ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.numel() // self.num_features
        fits = (
            x.shape[1] == self.num_features and self.affine and self.weight.dtype == torch.float32
        )
        if not (self.training and fits and rows > 1 and library.takes(x)):
            return F.relu_(super().forward(x))
        y, mean, variance = _BatchNormReLU.apply(x, self.weight, self.bias, float(self.eps))
        if self.running_mean is not None and self.running_var is not None:
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            new = self.momentum if self.momentum is not None else 1 / int(self.num_batches_tracked)  # type: ignore[arg-type]
            self.running_mean.lerp_(mean, new)
            self.running_var.lerp_(variance * (rows / (rows - 1)), new)
        return y  # type: ignore[no-any-return]


class _BatchNormReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Any:
        x = x.contiguous(memory_format=torch.channels_last)
        rows, channels = x.numel() // x.shape[1], x.shape[1]
        y = torch.empty_like(x)
        mean, variance, scale, shift = statistics = x.new_empty(4, channels, dtype=torch.float32)
        library.call(
            "batch_norm_relu_forward", x.dtype, x, rows, channels, weight, bias, eps,
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
        grad, stride = _rows(grad)
        grad_x, (grad_weight, grad_bias) = torch.empty_like(x), torch.empty_like(statistics[:2])
        library.call(
            "batch_norm_relu_backward", x.dtype, grad, stride, x, x.numel() // x.shape[1],
            x.shape[1], ctx.eps, *statistics, grad_x, grad_weight, grad_bias,
        )  # fmt: skip
        return grad_x, grad_weight, grad_bias, None


class ConvReLU(ConvNormAct):
    """Without gradients, as in evaluation, ReLU is a part of oneDNN's convolution."""

    def forward(self, x: Tensor) -> Tensor:
        conv, fused = self.conv, getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
        usual = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or not fused
        if usual or not library.takes(x) or x.dtype != conv.weight.dtype:
            return super().forward(x)
        return fused(  # type: ignore[no-any-return, misc]
            x, conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups,
            "relu", [], "",
        )  # fmt: skip


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
        with torch.device("meta"):  # torch checks the arguments and finds the size of the result
            size = super().forward(torch.empty(x.shape)).shape
        window = (self.kernel_size, self.stride, self.padding)
        return _MaxPool.apply(x, size, window)  # type: ignore[no-any-return]


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: torch.Size, window: tuple[int, int, int]) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = x.shape
        y = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)
        index = torch.empty_like(y, dtype=torch.uint8)
        pool = torch.tensor([batch, height, width, channels, *size[2:], *window])
        library.call("max_pool_forward", x.dtype, x, pool, y, index)
        ctx.save_for_backward(index)
        ctx.pool, ctx.shape = pool, x.shape
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        grad, stride = _rows(grad)
        grad_x = torch.empty(ctx.shape, dtype=grad.dtype, memory_format=torch.channels_last)
        library.call("max_pool_backward", grad.dtype, grad, stride, index, ctx.pool, grad_x)
        return grad_x, None, None


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
        grad, stride = _rows(grad)
        grad_x, channels = torch.empty_like(x), x.shape[1]
        library.call(
            "lrn_backward", x.dtype, grad, stride, x, x.numel() // channels, channels,
            *ctx.constants, grad_x,
        )  # fmt: skip
        return grad_x, None


def _rows(grad: Tensor) -> tuple[Tensor, int]:
    """A gradient whose pixels are rows of C values, and the values from one row to the next.

    That of a part of a concatenation has rows as long as all parts, and is not copied.
    """
    _, channels, height, width = grad.shape
    stride = grad.stride(3)
    if grad.stride() == (height * width * stride, 1, width * stride, stride) and stride >= channels:
        return grad, stride
    return grad.contiguous(memory_format=torch.channels_last), channels
