"""Batches from worker processes, through shared memory that is allocated once."""

import os
from collections.abc import Callable
from itertools import cycle
from multiprocessing import active_children
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from deeper.data.batch import Batch, Sample, collate

PREFETCH = 2
"""Batches that a worker may be ahead: DataLoader's `prefetch_factor`."""


class SharedCollate:
    """`collate` in a worker process; the reading process gets a `Batch` in memory of its own.

    DataLoader allocates shared memory for each batch, and its pages cost more than decoding a small
    photo does. Here a worker writes images into `PREFETCH` buffers in turn. The reading process
    copies a batch when it arrives, and DataLoader sends the worker a further task only after that:
    no buffer is written again before it was copied.
    """

    def __init__(self) -> None:
        self.buffers: dict[int, Tensor] = {}
        self.numbers = cycle(range(PREFETCH))

    def __call__(self, samples: list[Sample]) -> "SharedBatch":
        number = next(self.numbers)
        buffer, new = self.buffers.get(number), None
        if buffer is None or len(buffer) < len(samples):
            shape = samples[0].image.movedim(-3, -1).shape
            new = torch.empty(len(samples), *shape, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
            self.buffers[number] = buffer = new
        _, *others = collate(samples, out=buffer[: len(samples)])
        return SharedBatch((os.getpid(), number), new, *(values.numpy() for values in others))


class SharedBatch:
    """A message that becomes a `Batch` where it is unpickled.

    The buffer itself is in the first one only: passing memory to another process takes long.
    """

    def __init__(self, *content: Any) -> None:
        self.content = content

    def __reduce__(self) -> tuple[Callable[..., Batch], tuple[Any, ...]]:
        return received, self.content


BUFFERS: dict[tuple[int, int], Tensor] = {}
"""In the reading process: by process id of the worker and number."""


def received(key: tuple[int, int], new: Tensor | None, *others: NDArray[Any]) -> Batch:
    if new is not None:
        workers = {process.pid for process in active_children()}
        for ended in [worker for worker in BUFFERS if worker[0] not in workers]:
            del BUFFERS[ended]
        BUFFERS[key] = new
    images = BUFFERS[key][: len(others[0])].clone()
    return Batch(images.movedim(-1, -3), *map(torch.from_numpy, others))
