"""run.json: what runs in a directory, its inputs, its status and its results."""

import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from deeper.config.overrides import config_options
from deeper.files import json_text, replacement
from deeper.runs.provenance import provenance

FILE = "run.json"

OUTCOMES = "test_outcomes.npz"
"""Of each test image its `label`, the `predicted` class, the `rank` of the label (0: right; 255: 255 or
more) and its loss `nll`, what reports compare image by image; and the names of the `classes`."""

LOST = "lost"
"""Status of a process whose run another process has taken over, and whose record it keeps by now."""


@contextmanager
def recorded(run: Path, **facts: Any) -> Iterator[dict[str, Any]]:
    """Write run.json at the start and at the end of a run; the caller adds results to the dict.

    The status is running, then finished, interrupted, failed, or the `status` of the exception.
    """
    earlier = read_record(run) if (run / FILE).exists() else {}
    for stale in ("error", "ended", "results", "objective"):
        earlier.pop(stale, None)
    content = {"test_looks": 0} | earlier | provenance(facts.get("config")) | facts
    content |= {"status": "running", "started": _now()}
    content["starts"] = [*earlier.get("starts", []), content["started"]]
    began = time.monotonic()
    _write(run, content)
    try:
        yield content
    except BaseException as error:
        failed = "interrupted" if is_interrupt(error) else "failed"
        content["status"] = getattr(error, "status", failed)
        content["error"] = f"{type(error).__name__}: {error}"
        raise
    else:
        content["status"] = "finished"
    finally:
        content["ended"] = _now()
        content["seconds"] = earlier.get("seconds", 0.0) + round(time.monotonic() - began, 1)
        if content["status"] != LOST:
            with _locked(run):
                if (run / FILE).exists():  # an evaluation may have counted its test meanwhile
                    content["test_looks"] = read_record(run).get("test_looks", 0)
                _write(run, content)


def read_record(run: Path, name: str = FILE) -> dict[str, Any]:
    """Raises `ValueError` for a missing or damaged one."""
    path = run / name
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); restore it or start a new run") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not the record of a run; restore it or start a new run")
    return content


def count_test_look(run: Path) -> None:
    """Count that the run's weights were evaluated on the test set once more."""
    if is_main_process() and (run / FILE).exists():
        with _locked(run):
            content = read_record(run)
            _write(run, content | {"test_looks": content.get("test_looks", 0) + 1})


def command(content: Mapping[str, Any]) -> str:
    """What trains it again, from the record of a run."""
    options = config_options(content.get("command", [])[1:])
    return shlex.join(["python", "src/train.py", *options, *content["overrides"]])


def is_main_process() -> bool:
    """From the environment, since a run is recorded before its process group exists."""
    env = os.environ
    if "RANK" in env:  # torchrun's ranks, which need not be in SLURM's order of nodes
        return env["RANK"] == "0"
    return all(int(env.get(word, 0)) == 0 for word in ("SLURM_PROCID", "LOCAL_RANK"))


def is_interrupt(error: BaseException) -> bool:
    """Ctrl-C, also where Lightning turned it into an exit with status 1."""
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)


def _locked(run: Path) -> FileLock:
    """Several evaluations of a run may count their looks at the same time."""
    return FileLock(run / f".{FILE}.lock", timeout=60)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _write(run: Path, content: dict[str, Any]) -> None:
    if not is_main_process():
        return
    with replacement(run / FILE) as temporary:
        temporary.write_text(json_text(content, indent=2) + "\n")
