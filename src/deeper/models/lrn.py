"""Local response normalisation across channels, exact and several times as fast as torch's.

y = x / s^beta with s = k + alpha/size · Σ x² over a window of `size` channels (Krizhevsky et al.,
2012, §3.3, in torch's and Caffe's convention for alpha).

`torch.nn.LocalResponseNorm` makes six passes over memory and has no bfloat16 on CPU. This layer works
on channels_last in blocks of pixels that fit the processor's cache, with a backward pass of its own.
`src/bench.py what=lrn` compares their speed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

BLOCK_VALUES = 2048 * 192
"""Values of a block on CPU: about 8 MB with its temporaries in float32, near a core's share of the cache."""


class LocalResponseNorm(nn.Module):
    """[B, C, H, W] → the same shape and dtype. Half-precision input is computed in float32."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size={size}: the window must hold at least 1 channel")
        if alpha < 0 or k <= 0:
            raise ValueError(f"alpha={alpha}, k={k}: alpha must be at least 0 and k above 0")
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, images: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            return self._graph(images)
        return _LocalResponseNorm.apply(images, self.size, self.alpha, self.beta, self.k)  # type: ignore[no-any-return]

    def _graph(self, images: Tensor) -> Tensor:
        """Without blocks, whose number depends on the batch size, which an exported graph leaves open."""
        below, above = self.size // 2, (self.size - 1) // 2
        squares = F.pad(_wide(images).square(), (0, 0, 0, 0, below, above))
        windows = [squares[:, i : i + images.shape[1]] for i in range(self.size)]
        scale = torch.stack(windows).sum(0) * (self.alpha / self.size) + self.k
        return (_wide(images) * _power(scale, self.beta)).to(images.dtype)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class _LocalResponseNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, images: Tensor, size: int, alpha: float, beta: float, k: float
    ) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        result = torch.empty_like(images)
        for x, y in zip(_blocks(images), _blocks(result), strict=True):
            scale = _scale(x, size, alpha, k)
            y.copy_(_power(scale, beta).mul_(x))
        ctx.save_for_backward(images)
        ctx.constants = size, alpha, beta, k  # type: ignore[attr-defined]
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """dx = g·s^-beta − 2·alpha·beta/size · x · Σ g·x·s^(-beta-1), the sum over the mirrored window."""
        (images,) = ctx.saved_tensors  # type: ignore[attr-defined]
        size, alpha, beta, k = ctx.constants  # type: ignore[attr-defined]
        grad = grad.contiguous(memory_format=torch.channels_last)
        result = torch.empty_like(images)
        for x, g, dx in zip(_blocks(images), _blocks(grad), _blocks(result), strict=True):
            x, g = _wide(x), _wide(g)
            scale = _scale(x, size, alpha, k)
            direct = _power(scale, beta).mul_(g)
            # g·x·s^(-beta-1) = direct·x/s, so the power is taken once.
            across = _window_sum(torch.div(direct * x, scale), size, mirrored=True)
            dx.copy_(direct.addcmul_(across, x, value=-2 * alpha * beta / size))
        return result, None, None, None, None


def _blocks(images: Tensor) -> tuple[Tensor, ...]:
    """Views [pixels, C] that cover a channels_last tensor: several on CPU, one on other devices."""
    rows = images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])
    if images.device.type != "cpu":
        return (rows,)
    return torch.split(rows, max(BLOCK_VALUES // max(images.shape[1], 1), 1))


def _wide(x: Tensor) -> Tensor:
    """float32 for half-precision input, whose range a sum of squares exceeds; float64 stays."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _scale(x: Tensor, size: int, alpha: float, k: float) -> Tensor:
    squares = _wide(x).square()
    return _window_sum(squares, size).mul_(alpha / size).add_(k)


def _window_sum(rows: Tensor, size: int, mirrored: bool = False) -> Tensor:
    """Sum over channels c - size//2 … c + (size-1)//2; below and above swapped if `mirrored`."""
    channels = rows.shape[1]
    below, above = size // 2, (size - 1) // 2
    if mirrored:
        below, above = above, below
    total = rows.clone()
    for shift in range(1, min(below, channels - 1) + 1):
        total[:, shift:] += rows[:, :-shift]
    for shift in range(1, min(above, channels - 1) + 1):
        total[:, :-shift] += rows[:, shift:]
    return total


def _power(scale: Tensor, beta: float) -> Tensor:
    """scale^-beta; the two published exponents by square roots, which cost a tenth of `pow`."""
    if beta == 0.75:
        root = scale.rsqrt()
        return root.mul_(root.sqrt())
    if beta == 0.5:
        return scale.rsqrt()
    return scale.pow(-beta)
