"""Views of pictures in chunks of one size, whatever the protocol: the network sees full batches."""

from collections.abc import Iterable, Iterator
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from deeper.data.batch import Batch


class Chunk(NamedTuple):
    images: Tensor
    """uint8 [size, 3, H, W], channels_last"""
    index: Tensor  # type: ignore[assignment]  # tuple has a method of this name
    """int64 [size]: the picture of each view; -1 for padding"""


class Chunks:
    """The views of consecutive pictures, cut into chunks of exactly `size`; the last one is padded.

    `batches` have `views` views a picture, and `pictures` pictures in all.
    """

    def __init__(self, batches: Iterable[Batch], pictures: int, views: int, size: int) -> None:
        self.batches, self.pictures, self.views, self.size = batches, pictures, views, size

    def __len__(self) -> int:
        return ceil(self.pictures * self.views / self.size)

    def __iter__(self) -> Iterator[Chunk]:
        open_chunk, filled = None, 0
        for batch in self.batches:
            images, index = self._views(batch)
            start = 0
            while start < len(images):
                part = slice(start, start + self.size - filled)
                taken = len(images[part])
                if taken == self.size:  # nothing is waiting, and nothing need be copied
                    yield Chunk(images[part], index[part])
                else:
                    open_chunk = open_chunk or self._empty(images)
                    open_chunk.images[filled : filled + taken] = images[part]
                    open_chunk.index[filled : filled + taken] = index[part]
                    filled += taken
                    if filled == self.size:
                        yield open_chunk
                        open_chunk, filled = None, 0
                start += taken
        if open_chunk is not None:
            yield open_chunk

    def _views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        images = batch.images if batch.images.dim() == 4 else batch.images.flatten(0, 1)
        index = torch.where(batch.valid, batch.index, -1)
        return images, index.repeat_interleave(self.views)

    def _empty(self, like: Tensor) -> Chunk:
        images = torch.zeros(self.size, *like.shape[1:], dtype=like.dtype, device=like.device)
        index = torch.full((self.size,), -1, device=like.device)
        return Chunk(images.to(memory_format=torch.channels_last), index)
