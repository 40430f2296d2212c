"""Processes that share out tasks, for as long as the process lives that gave them out."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

Task = TypeVar("Task")


def answers(
    do: Callable[[Task], Any], tasks: Iterable[Task], workers: int
) -> Iterator[tuple[Task, Any]]:
    """Each task with what `do` answers to it, as they finish; `workers=0` is this process alone.

    `do` travels to each worker once. Its `ValueError`s are raised here, and the tasks that wait
    are dropped. A worker that was killed is a `ValueError` too.
    """
    if workers == 0:
        for task in tasks:
            yield task, do(task)
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would copy locks of Arrow's threads
    pool = ProcessPoolExecutor(workers, spawn, _begin, (do,))
    others, finished = multiprocessing.active_children(), False
    try:
        with _children_deaf_to_ctrl_c():
            given = {pool.submit(_do, task): task for task in tasks}  # starts them
        for done in as_completed(given):
            yield given.pop(done), done.result()
        finished = True
    except BrokenProcessPool as error:
        raise ValueError(
            "a worker process was killed, by lack of memory most likely; run the same command again "
            f"with fewer, e.g. workers={max(workers // 2, 1)}: it goes on where it was"
        ) from error
    except ValueError as error:
        raise ValueError(str(error)) from error  # of a worker: its traceback is text here
    finally:
        if not finished:
            for process in set(multiprocessing.active_children()) - set(others):
                process.kill()  # what it writes stands whole or not at all
        pool.shutdown(cancel_futures=True)


@contextmanager
def _children_deaf_to_ctrl_c() -> Iterator[None]:
    """Processes inherit what is blocked. Theirs to answer a Ctrl-C would be tracebacks and locks
    that nobody opens again; the parent answers, and ends them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_work: Callable[[Any], Any]


def _begin(do: Callable[[Any], Any]) -> None:
    global _work
    _work = do
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed can't tell: without this its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(task: Any) -> Any:
    return _work(task)
