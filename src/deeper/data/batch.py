"""The batches that a loader yields, and how samples are collated."""

from typing import NamedTuple

from torch import Tensor
from torch.utils.data import default_collate


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
    rows = [sample._replace(image=sample.image.movedim(-3, -1)) for sample in samples]
    images, *others = default_collate(rows)
    return Batch(images.movedim(-1, -3), *others)
