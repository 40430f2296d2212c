"""Tables of a multirun's jobs: while they run, and at the end."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deeper.sweep.jobs import (
    DIVERGED,
    DONE,
    FAILED,
    INTERRUPTED,
    RUNNING,
    STOPPED,
    WAITING,
    Job,
    differing_words,
)  # fmt: skip

COLOURS = {DONE: "green", RUNNING: "cyan", FAILED: "red", DIVERGED: "yellow",
           INTERRUPTED: "yellow", STOPPED: "yellow", WAITING: "dim"}  # fmt: skip


def queue_table(jobs: Sequence[Job], height: int) -> Table:
    """Counts, then the jobs that run and failed ones, then others, as many as there is room for."""
    counts = Counter(job.state for job in jobs)
    title = ", ".join(f"{counts[state]} {state}" for state in COLOURS if counts[state])
    order = [RUNNING, FAILED, INTERRUPTED, DIVERGED, WAITING, STOPPED, DONE]
    shown = sorted(jobs, key=lambda job: (order.index(job.state), job.number))[: max(height, 3)]
    table = Table(title=title, title_justify="left")
    for name in ("job", "what", "state", ""):
        table.add_column(name, no_wrap=True)
    words = differing_words(jobs)
    for job in sorted(shown, key=lambda job: job.number):
        last = job.last_line() if job.state == RUNNING else job.cause
        cells = str(job.number), words[job.number], job.state, last
        table.add_row(*map(escape, cells), style=COLOURS[job.state])
    return table


def show_final(jobs: Sequence[Job], objective: str) -> None:
    table = Table(title_justify="left")
    for name in ("job", "what", "state", objective, "run"):
        table.add_column(name)
    words = differing_words(jobs)
    for job in jobs:
        value = "" if job.objective is None else f"{job.objective:.4f}"
        about = f"{job.state}: {job.cause}" if job.cause else job.state
        table.add_row(
            str(job.number), escape(words[job.number]), escape(about), value, job.folder.name,
            style=COLOURS[job.state] if job.state != DONE else "",
        )  # fmt: skip
    Console().print(table)
