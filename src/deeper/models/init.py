"""Initial weights, each drawn from a generator that is seeded by the seed and the parameter's name.

An ablation therefore changes no parameter but those that it adds or removes.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn


class Initializer(ABC):
    """Initialises every convolution and linear layer in place; norm layers keep their 1 and 0."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __call__(self, net: nn.Module, prefix: str = "") -> None:
        """`prefix` is the name of `net` within the whole network; "" for the whole network."""
        for name, layer in net.named_modules(prefix=prefix):
            if not isinstance(layer, nn.Conv2d | nn.Linear) or layer.weight.is_meta:
                continue
            with torch.no_grad():
                drawn = torch.empty_like(layer.weight, device="cpu")  # the same on every device
                self.draw(name, drawn, generator(self.seed, f"{name}.weight"))
                layer.weight.copy_(drawn)
                if layer.bias is not None:
                    layer.bias.fill_(self.bias(name))

    @abstractmethod
    def draw(self, name: str, weight: Tensor, random: torch.Generator) -> None:
        """Fill `weight` of layer `name` in place."""

    def bias(self, name: str) -> float:
        return 0.0


def generator(seed: int, name: str) -> torch.Generator:
    """The random generator of a parameter."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _is_classifier(name: str) -> bool:
    return name.rpartition(".")[2] == "classifier"


class BVLC(Initializer):
    """Caffe's "xavier", U(±√(3/fan_in)); bias 0.2, in classifiers 0 (BVLC's train_val.prototxt)."""

    def draw(self, name: str, weight: Tensor, random: torch.Generator) -> None:
        bound = math.sqrt(3 / weight[0].numel())
        weight.uniform_(-bound, bound, generator=random)

    def bias(self, name: str) -> float:
        return 0.0 if _is_classifier(name) else 0.2


class He(Initializer):
    """N(0, 2/fan_in) (He et al., 2015, eq. 10); N(0, 1/fan_in) in classifiers."""

    def draw(self, name: str, weight: Tensor, random: torch.Generator) -> None:
        gain = 1.0 if _is_classifier(name) else 2.0
        weight.normal_(0, math.sqrt(gain / weight[0].numel()), generator=random)


class TruncatedNormal(Initializer):
    """N(0, std) truncated at ±2 std, as in TF-slim, for networks with batch norm.

    torchvision truncates at ±2 instead, which with std 0.01 truncates nothing.
    """

    def __init__(self, seed: int = 0, std: float = 0.01) -> None:
        super().__init__(seed)
        if std <= 0:
            raise ValueError(f"std={std}: must be above 0")
        self.std = std

    def draw(self, name: str, weight: Tensor, random: torch.Generator) -> None:
        nn.init.trunc_normal_(
            weight, std=self.std, a=-2 * self.std, b=2 * self.std, generator=random
        )


class Gaussian(BVLC):
    """Normal with the `std` values in BVLC's deploy.prototxt, by kind of layer; biases as in `BVLC`.

    They may be those of the original training.
    """

    STD: ClassVar = {
        "conv1": 0.1, "conv2_reduce": 0.1, "conv2": 0.03,
        "conv1x1": 0.03, "reduce3x3": 0.09, "conv3x3": 0.03,
        "reduce5x5": 0.2, "conv5x5": 0.03, "pool_proj": 0.1,
    }  # fmt: skip

    def draw(self, name: str, weight: Tensor, random: torch.Generator) -> None:
        kind = name.removesuffix(".conv").rpartition(".")[2]
        std = self.STD.get(kind, math.sqrt(1 / weight[0].numel()))
        weight.normal_(0, std, generator=random)
