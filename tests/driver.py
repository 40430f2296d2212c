"""Real processes of src/train.py that are killed or stopped, and what they leave."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from entry import call

from deeper.checkpoint import load_checkpoint
from deeper.runs.metrics import rows

NEVER_EQUAL = ("perf/",)
"""Prefixes of what is measured, and differs between two runs."""


def words(images: Path, logs: Path, *more: str) -> list[str]:
    """A training of 15 steps in three epochs, with dropout, aux heads, averaging and augmentation."""
    given = [
        f"data.root={images}", f"paths.logs={logs}", f"paths.cache={logs}/cache", "precision=fp32",
        "model.width=0.125", "epochs=3", "batch_size=16", "averaging=ema", "data.workers=1", "test=false",
        "trainer=cpu", "trainer.log_every_n_steps=2", "callbacks.checkpoint.every_minutes=0.001",
    ]  # fmt: skip
    return [w for w in given if w.partition("=")[0] not in {m.partition("=")[0] for m in more}] + [
        *more
    ]


class Process:
    """src/train.py in a process that was forked from this one, which has torch imported already."""

    def __init__(self, *given: str, log: Path, before: Callable[[], None] = lambda: None) -> None:
        self.code: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.setpgid(0, 0)
                sys.modules["__main__"].__spec__ = None  # Lightning starts ranks by src/train.py
                out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(out, 1)
                os.dup2(out, 2)
                before()
                result = call(*given)
                os.write(1, (result.stdout + result.stderr).encode())
                code = result.returncode
            except BaseException as error:
                os.write(1, repr(error).encode())
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        """The exit status as a shell reports it; None while the process runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status) if pid else None
            self.code = 128 - code if code is not None and code < 0 else code
        return self.code

    def wait(self, timeout: float = 120.0) -> int:
        """The exit status. Kills and raises after `timeout` seconds."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if (code := self.poll()) is not None:
                return code
            time.sleep(0.01)
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise TimeoutError(f"still there after {timeout} s")


def kill_at(owner: object, name: str, number: int, signum: int = signal.SIGKILL) -> None:
    """In a child: this process gets a signal at the n-th call of a function."""
    original, calls = getattr(owner, name), [0]

    def function(*arguments, **options):
        calls[0] += 1
        if calls[0] == number:
            os.kill(os.getpid(), signum)
        return original(*arguments, **options)

    setattr(owner, name, function)


def await_rows(logs: Path, number: int) -> Path:
    """The first run of which so many rows are written."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        files = [*logs.rglob("metrics.jsonl")]
        if files and len(files[0].read_text().splitlines()) >= number:
            return files[0].parent
        time.sleep(0.05)
    raise TimeoutError("no rows")


def outcome(run: Path) -> dict:
    """All that a training computed."""
    found = {n: load_checkpoint(run / f"checkpoints/{n}.ckpt") for n in ("last", "best")}
    for content in found.values():
        del content["deeper"]["config"]  # has the folder
    logged = [{k: v for k, v in row.items() if not k.startswith(NEVER_EQUAL)} for row in rows(run)]
    return found | {"rows": logged}


def differences(a, b, path: str = "") -> list[str]:
    """Where two outcomes differ in a bit."""
    # Lightning's counter of an epoch's validation batches counts one twice that was begun twice, and
    # its step for loggers, which nothing here uses, does not count one that was saved on an error.
    if path.endswith(("val_loop.batch_progress", "_batches_that_stepped")):
        return []
    if isinstance(a, dict) and isinstance(b, dict):
        found = [f"{path}/{key}: in one only" for key in a.keys() ^ b.keys()]
        return found + [
            d for k in a.keys() & b.keys() for d in differences(a[k], b[k], f"{path}/{k}")
        ]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [d for i, (x, y) in pairs for d in differences(x, y, f"{path}/{i}")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [f"{path}: {a} != {b}"[:300]]


def randoms(seed: int) -> random.Random:
    return random.Random(seed)
