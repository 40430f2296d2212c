"""Child processes that end with their parent, and workers that leave signals to it."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARENT = "DEEPER_PARENT"
"""Environment variable with the process that its children are to end with."""

PR_SET_PDEATHSIG = 1

SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP}
"""Signals that ask a run to stop."""


def lead_children() -> None:
    """Processes that are started from now on, as ranks or jobs, end when this one does."""
    os.environ[PARENT] = str(os.getpid())


def follow_parent() -> None:
    """Get SIGTERM when the parent ends, if it called `lead_children`; exit if it has ended already."""
    parent = os.environ.get(PARENT)
    if parent == str(os.getppid()):
        _end_with_parent(signal.SIGTERM)
    elif parent is not None and start_of(int(parent)) is None:
        print(f"process {parent}, which started this one, has ended ({PARENT})", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)


def start_worker(*_: object) -> None:
    """For a worker of a loader: a signal to the whole group is for the training alone to act on.

    One that the training sends ends the worker, as it does where Python ends.
    """
    from multiprocessing import parent_process

    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=_obey_parent, daemon=True).start()
    _end_with_parent(signal.SIGKILL)
    if (parent := parent_process()) and not parent.is_alive():  # it ended while this was spawned
        os._exit(1)


@contextmanager
def signals_held() -> Iterator[None]:
    """Signals wait until the end; a process that is started meanwhile holds them on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def signals_end_at_once() -> Iterator[None]:
    """SIGTERM and Ctrl-C end a call that waits within C++, where Python's handlers wait too."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    handled = [n for n in numbers if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, signal.SIG_DFL) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_of(pid: int) -> str | None:
    """When a process started, in clock ticks since the boot; None for one that is no more.

    Without /proc, as on macOS, any process of this number counts.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # it is somebody else's
        pass
    return "unknown"


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_flags() -> list[str]:
    """Features of the processor that Linux lists; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = (line for line in lines if line.startswith(("flags", "Features")))
    return next(flags, "").partition(":")[2].split()


def _obey_parent() -> None:
    while True:
        if signal.sigwaitinfo(SIGNALS).si_pid == os.getppid():
            os._exit(0)


def _end_with_parent(number: int) -> None:
    """On Linux. A parent that has ended meanwhile is noticed by its number."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)
