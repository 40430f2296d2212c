"""A loader that follows a resumed run's position."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset

from deeper.data.batch import Batch, collate
from deeper.data.shared import PREFETCH, SharedCollate, forget_ended_workers
from deeper.processes import cores, signals_held, start_worker


class LazyLoader(DataLoader[Batch]):
    """A loader that asks its sampler for nothing before the first batch is wanted.

    Lightning makes the iterator before it restores progress; an eager loader would by then have
    sent the first keys of the wrong place to its workers.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        forget_ended_workers()
        with signals_held():  # until `start_worker` has begun in each worker
            batches = super().__iter__()
        workers = active_children() if self.num_workers else []
        try:
            yield from batches
        except (ConnectionError, EOFError, RuntimeError) as error:
            # Torch's handler of SIGCHLD, which would name a killed worker, is removed by Lightning
            # at the end of a fit.
            closed = not isinstance(error, RuntimeError) or "Pin memory thread" in str(error)
            if closed and (worker := _killed(workers)):
                raise RuntimeError(f"DataLoader worker (pid {worker.pid}) was killed") from error
            raise


def batch_loader(
    samples: Dataset[Any], batches: Iterable[Any], workers: int, **options: Any
) -> LazyLoader:
    """A loader of `Batch`es whose `workers` processes send them through shared buffers.

    `PREFETCH` is what keeps these safe, so it is not for callers to choose.
    """
    return LazyLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=SharedCollate() if workers else collate,
        prefetch_factor=PREFETCH if workers else None,
        worker_init_fn=start_worker,
        **options,
    )


def _killed(workers: Sequence[BaseProcess]) -> BaseProcess | None:
    """The worker that a signal ends within 10 s: its pipes close first."""
    for _ in range(100):
        for worker in workers:
            if (worker.exitcode or 0) < 0:
                return worker
        time.sleep(0.1)
    return None


def worker_count(asked: int | Literal["auto"]) -> int:
    """auto: a GPU's share of the cores, or what SLURM gives a task; one where torch has no GPU.

    On one or two cores without a GPU none: a worker would compete with the threads of the network. At
    32 and 128 px a training is 10 % faster without it, at 224 px as fast.
    """
    if asked != "auto":
        return asked
    if not torch.cuda.is_available():
        return int(cores() > 2)
    task = int(os.environ.get("SLURM_CPUS_PER_TASK", 0))  # to which it may be bound already
    return max(min(max(cores() // torch.cuda.device_count(), task), cores(), 16), 1)
