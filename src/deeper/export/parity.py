"""Whether two forms of a network give the same logits."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

BATCHES = (1, 3, 16)
"""A graph that keeps its example's batch size as a constant fails at others."""


def noise(n: int, size: int) -> Tensor:
    """uint8 [n, 3, size, size], the same at each call."""
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=random)


@torch.inference_mode()
def logits(forward: Callable[[Tensor], Tensor], batches: Sequence[Tensor]) -> list[Tensor]:
    return [forward(images) for images in batches]


def logit_difference(found: Tensor, reference: Tensor) -> float:
    """max |Δ| / max |reference|; infinite where shapes differ or a value is not finite."""
    if found.shape != reference.shape or not (found.isfinite() & reference.isfinite()).all():
        return math.inf
    largest = reference.abs().max().item()
    absolute = (found.double() - reference.double()).abs().max().item()
    return absolute / largest if largest else (math.inf if absolute else 0.0)
