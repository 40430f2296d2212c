"""Batches on their way to a GPU while it computes on those before.

Lightning copies a batch when its step begins, on the stream that computes, which stands still meanwhile.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from deeper.data.batch import Batch


def ahead(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches on `device`, each sent on a stream of its own before the last one is used.

    One more of them is in the device's memory. Only what lies in pinned memory is sent meanwhile.
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
    """Let `stream` use a batch once it has arrived, and its memory wait for `stream` before it is reused."""
    stream.wait_event(arrived)
    for tensor in batch:
        tensor.record_stream(stream)
    return batch
