"""Jobs of a multirun: what each is, and what its run directory says of it."""

import os
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.utils import filter_overrides

from deeper.config.overrides import key_of
from deeper.config.secrets import without_secrets
from deeper.runs import record

DONE, DIVERGED, FAILED = "done", "diverged", "failed"
INTERRUPTED = "interrupted"
RUNNING, STOPPED, WAITING = "running", "stopped", "waiting"

LOG = "job.log"
"""What a job prints, in its run directory."""


@dataclass
class Job:
    number: int
    overrides: list[str]
    """Words of the command line that make it, as Hydra gives them."""
    folder: Path
    config: Any = field(repr=False)
    """Composed."""
    state: str = WAITING
    cause: str = ""
    """Why it failed, or what else is to be said of it, on one line."""
    starts: int = 0
    """Of its run, before this multirun started it."""

    @property
    def words(self) -> list[str]:
        """Without those for Hydra, and without secrets."""
        return without_secrets([*filter_overrides(self.overrides)])  # type: ignore[no-any-return]

    @property
    def log(self) -> Path:
        return self.folder / LOG

    @property
    def record(self) -> dict[str, Any]:
        """That of its run; empty where none has begun."""
        exists = (self.folder / record.FILE).exists()
        return record.read_record(self.folder) if exists else {}

    @property
    def times_started(self) -> int:
        """How often its run was accepted; a start that was refused leaves no trace in the record."""
        return len(self.record.get("starts", []))

    @property
    def objective(self) -> float | None:
        """None for a job without one, or of which it is not a number."""
        found = self.record.get("objective") if self.state == DONE else None
        return found if isinstance(found, int | float) else None

    def has_ended(self) -> bool:
        """Whether nothing is left to do, which sets `state`. An interrupted or failed job goes on."""
        before = self.record
        tested = not self.config.get("test", False) or "test/n" in before.get("results", {})
        if before.get("status") == "finished" and tested:
            measured = before.get("results", {}).get(self.config.get("objective"), 0.0)
            self.state = DIVERGED if measured is None else DONE  # JSON has null for NaN
        elif before.get("status") == "diverged":
            self.state, self.cause = DIVERGED, _line(before.get("error"))
        return self.state in (DONE, DIVERGED)

    def end(self, status: int) -> None:
        """Set `state` after its process has ended with this exit status, negative for a signal."""
        after = self.record if self.times_started > self.starts else {}
        if self.state == STOPPED:
            self.cause = "behind the others"
        elif not self.has_ended() or (status and after.get("status") == "finished"):
            self.state = INTERRUPTED if after.get("status") == INTERRUPTED else FAILED
            ended = f"signal {-status}" if status < 0 else f"status {status}"
            error = after.get("error") if after.get("status") != "running" else None
            self.cause = _line(error or self.last_line() or "").removeprefix("Stopped: ") or ended
            if status < 0:
                self.cause = f"{ended}: {self.cause}"

    def last_line(self) -> str:
        """The end of what it printed."""
        with suppress(OSError), self.log.open("rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - 4096, 0))
            lines = file.read().decode(errors="replace").split("\n")
            return next((_line(line) for line in reversed(lines) if line.strip()), "")
        return ""


def differing_words(jobs: Sequence[Job]) -> dict[int, str]:
    """Number of a job → its words that not all jobs have; all of them, where there is one job."""
    common = set.intersection(*(set(job.words) for job in jobs)) if len(jobs) > 1 else set()
    return {job.number: " ".join(w for w in job.words if w not in common) for job in jobs}


def names(jobs: Sequence[Job], searched: Collection[str] = ()) -> dict[int, str]:
    """Number of a job → what differs, as dashboards show it: `lr=0.05`, `no_aux-s1`.

    Where there is one job, only the keys that are `searched` differ.
    """
    common = set.intersection(*(set(job.words) for job in jobs))
    return {
        job.number: "-".join(
            _short(word) for word in job.words if word not in common or key_of(word) in searched
        )[:100]
        for job in jobs
    }


def _short(word: str) -> str:
    key, value = re.split(r"[./]", key_of(word))[-1], word.partition("=")[2]
    if key in ("experiment", "recipe"):
        return value.strip("[]").replace(",", "+")
    return f"s{value}" if key == "seed" else f"{key}={value}"


def _line(text: Any) -> str:
    """The first line of a text, in which carriage returns have drawn over what came before."""
    return (str(text or "").strip().splitlines() or [""])[0].rpartition("\r")[2].strip()
