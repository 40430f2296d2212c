"""Runs jobs in processes of their own, several at a time, and shows how far they are."""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.live import Live

from deeper.config.errors import ConfigError
from deeper.processes import SIGNALS, cores, lead_children
from deeper.runs.identity import processes
from deeper.runs.lease import is_held
from deeper.signals import Stopped
from deeper.sweep.jobs import RUNNING, STOPPED, WAITING, Job
from deeper.sweep.table import queue_table
from deeper.training.precision import accelerator_for

log = logging.getLogger(__name__)

POLL_S = 0.2

REFUSED = 2
"""Exit status of a job whose command or data have a mistake."""

HARDWARE = ("accelerator", "devices", "num_nodes")
"""Keys of a trainer that say what a job runs on."""


class Process(Protocol):
    """What the queue needs of a job that runs: `subprocess.Popen` has it."""

    def poll(self) -> int | None: ...
    def send_signal(self, number: int, /) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Queue:
    """`start` starts a job in one of the `slots`, the environments of jobs at a time.

    `watch` is asked again and again whether a running job is to be stopped before its end.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        start: Callable[[Job, dict[str, str]], Process],
        slots: Sequence[dict[str, str]],
        watch: Callable[[Job], bool] = lambda job: False,
    ) -> None:
        self.jobs, self.start, self.watch = jobs, start, watch
        self._free = [*slots]
        self._running: list[tuple[Job, Process, dict[str, str]]] = []
        self._received = 0
        """The signal that ends the queue; 0 for none."""

    def run(self) -> None:
        """Run all jobs that wait. Raises `Stopped` after a signal, when the jobs have ended."""
        waiting = [job for job in self.jobs if job.state == WAITING]
        lead_children()
        with self._signals(), self._live() as show:
            while self._running or (waiting and not self._received):
                for job in self._startable(waiting):
                    waiting.remove(job)
                    self._start(job)
                time.sleep(POLL_S)
                for job, process, slot in [*self._running]:
                    if job.state == RUNNING and self.watch(job):
                        job.state = STOPPED
                        process.terminate()
                    if (status := process.poll()) is not None:
                        self._running.remove((job, process, slot))
                        self._free.append(slot)
                        job.end(status)
                        log.info(f"job {job.number} {job.state}: {job.cause or job.folder}")
                        if self._is_mistake(job, status):
                            waiting.clear()  # of the same command, they would be refused as well
                show()
        if self._received:
            raise Stopped(self._received)

    def _startable(self, waiting: Sequence[Job]) -> Iterator[Job]:
        """Those for which there is a slot; of jobs that are the same run, one at a time."""
        for job in [*waiting]:
            if not self._free or self._received:
                return
            if job.folder not in [running.folder for running, _, _ in self._running]:
                yield job

    def _is_mistake(self, job: Job, status: int) -> bool:
        """Whether the first job was refused, and not since another process writes to its run."""
        first = all(other.state == WAITING for other in self.jobs if other is not job)
        return status == REFUSED and first and not is_held(job.folder)

    def _start(self, job: Job) -> None:
        slot = self._free.pop(0)
        job.folder.mkdir(parents=True, exist_ok=True)
        log.info(f"job {job.number}: {' '.join(job.words)}")
        job.starts = job.times_started
        process = self.start(job, slot)
        job.state = RUNNING
        self._running.append((job, process, slot))
        if self._received:  # while it was started
            process.send_signal(self._received)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Pass signals to the jobs, which save and end; a second Ctrl-C kills them."""

        def forward(number: int, frame: FrameType | None) -> None:
            again = number == signal.SIGINT == self._received
            self._received = self._received or number
            for _, process, _ in self._running:
                process.kill() if again else process.send_signal(number)

        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, forward)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _live(self) -> Iterator[Callable[[], None]]:
        """A table that is drawn anew, on a terminal alone; elsewhere lines tell of each job."""
        console = Console(stderr=True)
        if not console.is_terminal:
            yield lambda: None
            return
        with Live(console=console, auto_refresh=False, transient=True) as live:

            def show() -> None:
                live.update(queue_table(self.jobs, console.height - 4), refresh=True)

            yield show


def start_process(job: Job, command: Sequence[str], slot: dict[str, str]) -> Process:
    """On this machine; what it prints is appended to job.log."""
    with job.log.open("ab") as output:
        return subprocess.Popen(
            command, env=os.environ | slot, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes through the queue alone
        )  # fmt: skip


def slots(sweep: DictConfig, jobs: Sequence[DictConfig]) -> list[dict[str, str]]:
    """Environments of the jobs that run at a time: GPUs of their own, or a share of the cores.

    `sweep.parallel=auto` is as many as the GPUs allow, and one on a CPU.
    """
    parallel = OmegaConf.select(sweep, "sweep.parallel", default="auto")
    trainers: list[Any] = [
        OmegaConf.to_container(OmegaConf.masked_copy(job.trainer, [*HARDWARE])) for job in jobs
    ]
    on_gpus = [t for t in trainers if accelerator_for(t.get("accelerator")) == "cuda"]
    if gpus_a_job := max(map(processes, on_gpus), default=0):
        import torch

        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus = named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]
        groups = [gpus[i : i + gpus_a_job] for i in range(0, len(gpus), gpus_a_job)]
        whole = [group for group in groups if len(group) == gpus_a_job]
        if not whole:
            raise ConfigError([f"trainer: a job needs {gpus_a_job} GPUs, and here are {len(gpus)}"])
        number = len(whole) if parallel == "auto" else int(parallel)
        return [{"CUDA_VISIBLE_DEVICES": ",".join(whole[i % len(whole)])} for i in range(number)]
    number = 1 if parallel == "auto" else int(parallel)
    if number == 1 or "OMP_NUM_THREADS" in os.environ:
        return [{}] * number
    return [{"OMP_NUM_THREADS": str(max(cores() // number, 1))}] * number
