"""Whether two forms of a network answer the same."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Answers = Callable[[Tensor], Tensor]
"""uint8 [B, 3, S, S] → logits [B, classes]."""

BATCHES = (1, 3, 16)
"""A graph that took its example's batch for the only one fails at others."""

FOLD_BOUND = 1e-9
"""Of the fold itself, in float64. 1e-14 is usual: anything near the bound is another network."""


def probes(size: int) -> list[Tensor]:
    """uint8 [B, 3, S, S] of each batch size: shapes and noise, with black and white among them."""
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


def difference(answers: Tensor, reference: Tensor) -> float:
    """max |Δ| / max |reference|; infinite where anything is missing or not a number."""
    if answers.shape != reference.shape or not (answers.isfinite() & reference.isfinite()).all():
        return math.inf
    largest = reference.abs().max().item()
    apart = (answers.double() - reference.double()).abs().max().item()
    return apart / largest if largest else (math.inf if apart else 0.0)


@torch.inference_mode()
def answered(form: Answers, batches: Sequence[Tensor]) -> list[Tensor]:
    return [form(images) for images in batches]


def worst(answers: Sequence[Tensor], references: Sequence[Tensor]) -> float:
    """The largest `difference` of any batch."""
    return max(difference(*pair) for pair in zip(answers, references, strict=True))
