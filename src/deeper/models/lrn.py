"""Local response normalisation across channels, exact and several times as fast as torch's.

y = x / s^beta with s = k + alpha/size · Σ x² over a window of `size` channels (Krizhevsky et al.,
2012, §3.3, in torch's and Caffe's convention for alpha).

`torch.nn.LocalResponseNorm` makes six passes over memory and has no bfloat16 on CPU. Here a pixel's
channels lie side by side (channels_last), pixels are taken in blocks that stay in the processor's
cache, and the backward pass is written out. `python -m deeper.models.lrn` times one against the other.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

BLOCK_VALUES = 2048 * 192
"""Values a block holds on CPU: with its temporaries about 8 MB in float32, near a core's share of cache."""


class LocalResponseNorm(nn.Module):
    """[B, C, H, W] → the same shape. Computes in float32 under autocast, and answers in `images`' type."""

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
        """The same without blocks: how many there are depends on a batch that a graph leaves open."""
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
        """dx = g·s^-beta − 2·alpha·beta/size · x · Σ g·x·s^(-beta-1), summed over the mirrored window."""
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
    """Views [pixels, C] that cover a channels_last tensor; one view where there is no cache to respect."""
    rows = images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])
    if images.device.type != "cpu":
        return (rows,)
    return torch.split(rows, max(BLOCK_VALUES // max(images.shape[1], 1), 1))


def _wide(x: Tensor) -> Tensor:
    """float32 for half-precision input (a sum of squares needs its range), float64 stays."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _scale(x: Tensor, size: int, alpha: float, k: float) -> Tensor:
    squares = _wide(x).square()
    return _window_sum(squares, size).mul_(alpha / size).add_(k)


def _window_sum(rows: Tensor, size: int, mirrored: bool = False) -> Tensor:
    """Sum over channels c - size//2 … c + (size-1)//2; the other way round if `mirrored`."""
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


def _benchmark(repeats: int = 7) -> None:
    """Print milliseconds of both, forward and backward, interleaved: the issue of record is the ratio."""
    from statistics import median
    from time import perf_counter

    images = torch.randn(32, 192, 56, 56).to(memory_format=torch.channels_last).requires_grad_()
    seconds: dict[str, list[float]] = {"torch": [], "deeper": []}
    nets = {"torch": nn.LocalResponseNorm(5), "deeper": LocalResponseNorm(5)}
    for _ in range(repeats):
        for name, net in nets.items():
            start = perf_counter()
            net(images).sum().backward()
            seconds[name].append(perf_counter() - start)
    ours, theirs = (median(seconds[name]) * 1000 for name in ("deeper", "torch"))
    print(
        f"LRN 32×192×56×56, forward + backward, {torch.get_num_threads()} threads, median of {repeats}"
    )
    print(f"torch {theirs:.0f} ms · deeper {ours:.0f} ms · {theirs / ours:.1f}×")


if __name__ == "__main__":
    _benchmark()
