"""run.json: what runs in a directory, on what, how it went and what it found."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from deeper.files import replacement
from deeper.runs.provenance import provenance

FILE = "run.json"


@contextmanager
def recorded(run: Path, **facts: Any) -> Iterator[dict[str, Any]]:
    """Written at the start and at the end of a run, however it ends. Results go into the dict."""
    earlier = read(run) if (run / FILE).exists() else {}
    for stale in ("error", "ended", "results", "objective"):
        earlier.pop(stale, None)
    content = {"test_looks": 0} | earlier | provenance() | facts
    content |= {"status": "running", "started": _now()}
    content["starts"] = [*earlier.get("starts", []), content["started"]]
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
        if (run / FILE).exists():  # an evaluation may have counted its look meanwhile
            content["test_looks"] = read(run).get("test_looks", 0)
        _write(run, content)


def read(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / FILE).read_text())
    return content


def count_test_look(run: Path) -> None:
    """One more number was read from the test set by this run's weights."""
    if is_main_process() and (run / FILE).exists():
        content = read(run)
        _write(run, content | {"test_looks": content.get("test_looks", 0) + 1})


def is_main_process() -> bool:
    """By the environment, since a run is recorded before the process group exists."""
    env = os.environ
    if "RANK" in env:  # torchrun's, whose order of nodes need not be SLURM's
        return env["RANK"] == "0"
    return all(int(env.get(word, 0)) == 0 for word in ("SLURM_PROCID", "LOCAL_RANK"))


def is_interrupt(error: BaseException) -> bool:
    """Ctrl-C, also where Lightning turned it into an exit of status 1."""
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _write(run: Path, content: dict[str, Any]) -> None:
    if not is_main_process():
        return
    with replacement(run / FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")
