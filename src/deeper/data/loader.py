"""A loader that follows a resumed run's position."""

import os
from collections.abc import Iterator
from multiprocessing import active_children
from multiprocessing.connection import wait
from typing import Literal

import torch
from torch.utils.data import DataLoader

from deeper.data.batch import Batch
from deeper.processes import signals_held


class LazyLoader(DataLoader[Batch]):
    """A loader that asks its sampler for nothing before the first batch is wanted.

    Lightning makes the iterator before it restores progress; an eager loader would by then have
    sent the first keys of the wrong place to its workers.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        with signals_held():  # until `start_worker` has begun in each worker
            batches = super().__iter__()
        workers = active_children() if self.num_workers else []
        try:
            yield from batches
        except (ConnectionError, EOFError, RuntimeError) as error:
            # A worker that is killed closes its pipe before the system says that it ended, which
            # takes seconds for a large process. Torch's handler of SIGCHLD may name it meanwhile,
            # but Lightning removes that handler at the end of a fit.
            if not isinstance(error, RuntimeError) or "Pin memory thread" in str(error):
                wait([worker.sentinel for worker in workers], timeout=10)
                for worker in workers:
                    if (status := worker.exitcode or 0) < 0:
                        raise RuntimeError(
                            f"DataLoader worker (pid {worker.pid}) was killed by signal {-status}"
                        ) from error
            raise


def worker_count(asked: int | Literal["auto"]) -> int:
    """auto: one beside a CPU that trains, else this process's share of the node's cores."""
    if asked != "auto":
        return asked
    if not torch.cuda.is_available():
        return 1
    return max(min(cores() // torch.cuda.device_count(), 16), 1)


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
