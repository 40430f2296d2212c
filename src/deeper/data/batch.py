"""The batches that a loader yields, and how samples are collated."""

from typing import NamedTuple

import torch
from torch import Tensor


class Sample(NamedTuple):
    image: Tensor
    """uint8 [3, H, W], RGB; [V, 3, H, W] where an evaluation takes V views of an image"""
    label: int
    index: int  # type: ignore[assignment]  # tuple has a method of this name
    """Of the image in its split."""
    valid: bool
    """False for padding, which gives every process as many samples to evaluate."""


class Batch(NamedTuple):
    images: Tensor
    """uint8 [B, 3, H, W], channels_last: a quarter of the bytes of float on the way to the device."""
    labels: Tensor
    """int64 [B]"""
    index: Tensor  # type: ignore[assignment]
    """int64 [B]"""
    valid: Tensor
    """bool [B]"""


def collate(samples: list[Sample], out: Tensor | None = None) -> Batch:
    """Images lie as [H, W, 3] in memory, so they are copied once, to `out` if given, as they lie.

    Samples with views make a batch of [B, V, 3, H, W].
    """
    images, *others = zip(*samples, strict=True)
    stacked = torch.stack([image.movedim(-3, -1) for image in images], out=out)
    return Batch(stacked.movedim(-1, -3), *map(torch.tensor, others))
