"""A lease on a run directory: one process writes there, on this machine or on another one.

`lease.json` names its holder, and the file's time of change is the holder's last sign of life. On
the holder's machine, its process is looked for; on others, its signs of life are waited for.
"""

import atexit
import fcntl
import json
import os
import platform
import re
import threading
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from deeper.processes import start_of
from deeper.runs.record import LOST

FILE = "lease.json"
HEARTBEAT_S = 10.0
EXPIRY_S = 60.0
"""Seconds without a sign of life after which a holder on another machine is taken for dead."""


class LeaseLost(Exception):
    """Ends a process whose run directory another one writes to by now; it may write nothing more."""

    status = LOST
    exit_status = 1


class Lease:
    """Held by this process from `acquire` to `release`, which also happens when Python ends."""

    def __init__(self, path: Path, file: int, content: bytes) -> None:
        self.path, self._file, self._content = path, file, content
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()
        atexit.register(self.release)

    @classmethod
    def acquire(cls, run: Path) -> "Lease":
        """Raises `ValueError` that names a living holder. That of a dead one is taken over."""
        path = run / FILE
        try:
            file = _open_locked(path)  # those who ask at the same time decide one after the other
        except OSError as error:
            raise ValueError(f"{run}: cannot be leased ({error}); choose another folder") from error
        try:
            holder = _holder(file)
            if holder is not None and _is_alive(path, file, holder):
                raise ValueError(
                    f"{run}: process {holder['pid']} on {holder['host']} writes there since "
                    f"{holder['since']}; wait for its end, or stop it and run this again"
                )
            content = json.dumps(_this_process()).encode()
            os.ftruncate(file, 0)
            os.pwrite(file, content, 0)
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
        except FileNotFoundError:  # its holder has released it meanwhile
            os.close(file)
            return cls.acquire(run)
        except BaseException:
            os.close(file)
            raise
        return cls(path, file, content)

    def is_held(self) -> bool:
        """False once another process has taken the directory over; costs a look at the file."""
        return os.pread(self._file, len(self._content) + 1, 0) == self._content

    def release(self) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        if self.is_held():
            self.path.unlink(missing_ok=True)
        os.close(self._file)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            with suppress(OSError):
                os.utime(self._file)


def is_held(run: Path) -> bool:
    """Whether a process writes to a run, as far as can be said at once."""
    try:
        file = os.open(run / FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        if (holder := _holder(file)) is None:
            return False
        if holder["place"] == _this_process()["place"]:
            return bool(holder["started"] == start_of(holder["pid"]))
        return time.time() - os.fstat(file).st_mtime < EXPIRY_S
    finally:
        os.close(file)


def _open_locked(path: Path) -> int:
    """A descriptor of the file under `path`, which may be removed by its holder meanwhile."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        with suppress(OSError):  # a file system without locks: two starts at one instant may meet
            fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        os.close(file)


def _holder(file: int) -> dict[str, Any] | None:
    """None for a file that is new or damaged."""
    try:
        found = json.loads(os.pread(file, 10_000, 0))
        return {key: found[key] for key in ("host", "place", "pid", "started", "since")}
    except (ValueError, KeyError, TypeError):
        return None


def _is_alive(path: Path, file: int, holder: dict[str, Any]) -> bool:
    here = _this_process()
    if holder["place"] == here["place"]:
        same = holder["pid"] == here["pid"]
        return not same and holder["started"] == start_of(holder["pid"])
    seen = os.fstat(file).st_mtime
    name = f"process {holder['pid']} on {holder['host']}"
    print(f"{path.parent}: waiting {EXPIRY_S:.0f} s for a sign of life of {name}", flush=True)
    end = time.monotonic() + EXPIRY_S
    while time.monotonic() < end:
        time.sleep(EXPIRY_S / 60)
        if os.stat(path).st_mtime != seen:
            return True
    return False


def _this_process() -> dict[str, Any]:
    return {
        "host": platform.node(),
        "place": [platform.node(), _boot(), _namespace()],
        "pid": os.getpid(),
        "started": start_of(os.getpid()),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _boot() -> str:
    """An id of the machine's start: pids are used again after the next one."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def _namespace() -> str:
    """Containers on one machine have pids of their own."""
    try:
        return re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))
    except OSError:
        return ""
