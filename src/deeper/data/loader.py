"""A loader that follows a resumed run's position, and copies batches to a GPU while it computes.

Lightning copies a batch when its step begins, on the stream that computes, which waits meanwhile.
"""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from deeper.data.batch import Batch


class LazyLoader(DataLoader[Batch]):
    """A loader that asks its sampler for nothing before the first batch is wanted.

    Lightning makes the iterator before it restores progress; an eager loader would by then have
    sent the first keys of the wrong place to its workers.
    """

    gpu: torch.device | None = None
    """The device to which batches are copied ahead; None leaves the copy to Lightning."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        batches = super().__iter__()
        yield from batches if self.gpu is None else ahead(batches, self.gpu)


def ahead(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches on `device`, each copied on a second stream before the one ahead of it is used.

    The device's memory holds one more batch. The copy overlaps only where batches are pinned.
    """
    streams: Any = torch.get_device_module(device)
    side = streams.Stream(device=device)
    before: tuple[Batch, Any] | None = None
    for batch in batches:
        with streams.stream(side):
            sent = Batch(*(tensor.to(device, non_blocking=True) for tensor in batch))
            arrived = side.record_event()
        if before is not None:
            yield received(*before, streams.current_stream(device))
        before = sent, arrived
    if before is not None:
        yield received(*before, streams.current_stream(device))


def received(batch: Batch, arrived: Any, stream: Any) -> Batch:
    """Make `stream` wait for a batch, and the reuse of the batch's memory wait for `stream`."""
    stream.wait_event(arrived)
    for tensor in batch:
        tensor.record_stream(stream)
    return batch


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
