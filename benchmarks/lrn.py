"""Time local response normalisation, forward and backward, against torch's layer: python benchmarks/lrn.py"""

from statistics import median
from time import perf_counter

import torch
from torch import nn

from deeper.models.lrn import LocalResponseNorm

ROUNDS = 7
SHAPE = (32, 192, 56, 56)
"""The input of norm2 at 224 px."""


def main() -> None:
    images = torch.randn(SHAPE).to(memory_format=torch.channels_last).requires_grad_()
    layers = {"torch": nn.LocalResponseNorm(5), "deeper": LocalResponseNorm(5)}
    seconds: dict[str, list[float]] = {name: [] for name in layers}
    for _ in range(ROUNDS):
        for name, layer in layers.items():
            start = perf_counter()
            layer(images).sum().backward()
            seconds[name].append(perf_counter() - start)
    theirs, ours = (median(taken) * 1000 for taken in seconds.values())
    print(f"{SHAPE}, {torch.get_num_threads()} threads, median of {ROUNDS} rounds")
    print(f"torch {theirs:.0f} ms, deeper {ours:.0f} ms: {theirs / ours:.1f} times as fast")


if __name__ == "__main__":
    main()
