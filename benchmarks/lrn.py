"""Time local response normalisation, forward and backward, against torch's layer: python benchmarks/lrn.py"""

from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from deeper.benchmarks.timing import seconds, speedup
from deeper.models.lrn import LocalResponseNorm

SHAPE = (32, 192, 56, 56)
"""The input of norm2 at 224 px."""


def measured(device: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of either layer in float32, by round."""
    images = torch.randn(SHAPE, device=device).to(memory_format=torch.channels_last)
    layers = {"torch": nn.LocalResponseNorm(5), "deeper": LocalResponseNorm(5)}
    steps = {
        name: partial(forward_and_backward, layer, images.requires_grad_())
        for name, layer in layers.items()
    }
    return seconds(steps, rounds)


def forward_and_backward(layer: nn.Module, images: Tensor) -> None:
    layer(images).sum().backward()
    if images.is_cuda:
        torch.cuda.synchronize()


def main(rounds: int = 7) -> None:
    theirs, ours = measured("cpu", rounds).values()
    print(f"{SHAPE}, {torch.get_num_threads()} threads, median of {rounds} rounds")
    print(f"torch {1000 * median(theirs):.0f} ms, deeper {1000 * median(ours):.0f} ms: ", end="")
    print(f"{speedup(ours, theirs):.1f} times as fast")


if __name__ == "__main__":
    main()
