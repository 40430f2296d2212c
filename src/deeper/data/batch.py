"""What a loader yields, and how samples become it."""

from typing import NamedTuple

import torch
from torch import Tensor


class Sample(NamedTuple):
    image: Tensor
    """uint8 [3, H, W], RGB"""
    label: int
    index: int  # type: ignore[assignment]  # tuple has a method of this name
    """Place in the split's list of images."""
    valid: bool
    """False for the padding that gives every process equally many samples to evaluate."""


class Batch(NamedTuple):
    images: Tensor
    """uint8 [B, 3, H, W], channels_last: a quarter of the bytes of float on the way to the device."""
    labels: Tensor
    """int64 [B]"""
    index: Tensor  # type: ignore[assignment]
    """int64 [B]"""
    valid: Tensor
    """bool [B]"""


def collate(samples: list[Sample]) -> Batch:
    images, labels, index, valid = zip(*samples, strict=True)
    return Batch(
        torch.stack(images).contiguous(memory_format=torch.channels_last),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(index, dtype=torch.int64),
        torch.tensor(valid, dtype=torch.bool),
    )
