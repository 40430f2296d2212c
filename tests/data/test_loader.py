"""The loader waits for its first use, and names a worker that was killed."""

import os
import signal

import pytest
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from deeper.data.loader import LazyLoader


def test_nothing_is_asked_before_the_first_batch_is_wanted():
    asked = []

    def order():
        for number in range(3):
            asked.append(number)
            yield number

    batches = iter(LazyLoader([1, 2, 3], batch_size=None, sampler=order(), num_workers=1))
    assert asked == []
    assert list(batches) == [1, 2, 3]
    assert asked == [0, 1, 2]


def test_a_killed_worker_is_named_though_its_pipe_closes_first(monkeypatch):
    listening = signal.getsignal(signal.SIGCHLD)

    def reset(self):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # as Lightning leaves it after a fit
        os.kill(self._workers[0].pid, signal.SIGKILL)
        raise ConnectionResetError

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "_try_get_data", reset)
    try:
        with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid \d+\) was killed"):
            list(LazyLoader([1, 2, 3], num_workers=1))
    finally:
        signal.signal(signal.SIGCHLD, listening)
