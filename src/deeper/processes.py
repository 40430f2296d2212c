"""Child processes that end with their parent, and workers that leave signals to it."""

import ctypes
import os
import signal
import sys

PARENT = "DEEPER_PARENT"
"""Environment variable with the process that its children are to end with."""

PR_SET_PDEATHSIG = 1


def lead_children() -> None:
    """Processes that are started from now on, as ranks or jobs, end when this one does."""
    os.environ[PARENT] = str(os.getpid())


def follow_parent() -> None:
    """Get SIGTERM when the parent ends, if it asked for that by `lead_children`."""
    if os.environ.get(PARENT) == str(os.getppid()):
        _end_with_parent(signal.SIGTERM)


def start_worker(*_: object) -> None:
    """For a worker of a loader: a signal to the whole group is for the training alone to act on."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    _end_with_parent(signal.SIGKILL)


def _end_with_parent(number: int) -> None:
    """On Linux. A parent that has ended meanwhile is noticed by its number."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)
