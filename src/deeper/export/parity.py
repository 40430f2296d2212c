"""Whether two forms of a network give the same logits."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BATCHES = (1, 3, 16)
"""A graph that keeps its example's batch size as a constant fails at others."""


def probe_batches(size: int) -> list[Tensor]:
    """uint8 [B, 3, S, S] of each batch size: smooth shapes with noise, and all black and all white."""
    random = torch.Generator().manual_seed(0)
    batches = []
    for n in BATCHES:
        coarse = torch.rand(n, 3, 7, 7, generator=random) * 255
        smooth = F.interpolate(coarse, (size, size), mode="bilinear")
        noise = torch.randn(n, 3, size, size, generator=random) * 20
        images = (smooth + noise).clamp(0, 255).to(torch.uint8)
        if n > 2:
            images[0], images[1] = 0, 255
        batches.append(images)
    return batches


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
