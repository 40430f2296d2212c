"""Batches from worker processes, through shared memory that is used again and again."""

import os
from collections.abc import Callable
from multiprocessing import active_children
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from deeper.data.batch import Batch, Sample, collate

PREFETCH = 2
"""Batches that a worker may be ahead: the `prefetch_factor` of a DataLoader with `SharedCollate`."""


class SharedCollate:
    """`collate` in a worker process; the reading process gets a `Batch` in memory of its own.

    DataLoader allocates shared memory for each batch, and its pages cost more than decoding a small
    photo does. Here a worker writes images into `PREFETCH` buffers in turn. The reading process
    copies a batch when it arrives, and DataLoader sends the worker a further task only after that:
    no buffer is written again before it was copied.
    """

    def __init__(self) -> None:
        self.buffers: list[Tensor | None] = [None] * PREFETCH
        self.turn = 0

    def __call__(self, samples: list[Sample]) -> "SharedBatch":
        shape = samples[0].image.movedim(-3, -1).shape
        buffer, new = self.buffers[self.turn], None
        if buffer is None or len(buffer) < len(samples) or buffer.shape[1:] != shape:
            new = torch.empty(len(samples), *shape, dtype=torch.uint8)
            buffer = new.share_memory_()  # type: ignore[no-untyped-call]
        _, *others = collate(samples, out=buffer[: len(samples)])
        numbers = [values.numpy() for values in others]
        message = SharedBatch((os.getpid(), self.turn), new, *numbers)
        self.buffers[self.turn] = buffer
        self.turn = (self.turn + 1) % PREFETCH
        return message


class SharedBatch:
    """A message that becomes a `Batch` where it is unpickled.

    A buffer is in its first message only: passing memory to another process takes long.
    """

    def __init__(self, *content: Any) -> None:
        self.content = content

    def __reduce__(self) -> tuple[Callable[..., Batch], tuple[Any, ...]]:
        return received, self.content


BUFFERS: dict[tuple[int, int], Tensor] = {}
"""In the reading process: by process id of the worker and the buffer's turn."""


def received(key: tuple[int, int], new: Tensor | None, *others: NDArray[Any]) -> Batch:
    """The batch in buffer `key`, copied; `others` are labels, index and valid."""
    if new is not None:
        BUFFERS[key] = new
    images = BUFFERS[key][: len(others[0])].clone()
    return Batch(images.movedim(-1, -3), *map(torch.from_numpy, others))


def forget_ended_workers() -> None:
    """Free their buffers; before new workers are forked, which would inherit them."""
    living = {worker.pid for worker in active_children()}
    for key in [*BUFFERS]:
        if key[0] not in living:
            BUFFERS.pop(key, None)
