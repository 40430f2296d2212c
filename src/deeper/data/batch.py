"""The batches that a loader yields, and how samples are collated."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import get_worker_info


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


def collate(samples: list[Sample]) -> Batch:
    """Images lie as [H, W, 3] in memory, so they are copied once, without a transposition.

    Samples with views make a batch of [B, V, 3, H, W].
    """
    images, labels, index, valid = zip(*samples, strict=True)
    rows = [image.movedim(-3, -1) for image in images]
    out = None
    if get_worker_info() is not None:  # memory that the training process shares
        shape = (len(rows), *rows[0].shape)
        storage = torch.UntypedStorage._new_shared(math.prod(shape))  # type: ignore[no-untyped-call]
        out = torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)
    return Batch(
        torch.stack(rows, out=out).movedim(-1, -3),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(index, dtype=torch.int64),
        torch.tensor(valid, dtype=torch.bool),
    )
