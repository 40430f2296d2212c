"""hydra/launcher=slurm: runs each job of a multirun as a job of SLURM, on nodes and GPUs of its own.

The driver submits with sbatch and waits, so that its table, its exit status and `sweep.parallel` are
those of jobs on this machine. Killed and started again, it finds the jobs that SLURM still has by their
names. A job that SLURM puts back into its queue goes on where it was. Ctrl-C, SIGTERM and the end of the
terminal (SIGHUP) cancel the jobs, which save: start the driver under nohup or tmux.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from deeper.config.errors import ConfigError
from deeper.processes import PARENT
from deeper.sweep.jobs import Job
from deeper.sweep.launcher import ProcessLauncher
from deeper.sweep.queue import REFUSED, Process

POLL_S = 5.0

LEFT_S = 10.0
"""A job that squeue has not listed for so many seconds has ended. One that is queued again may be missing
for a moment.
"""


class SlurmLauncher(ProcessLauncher):
    """`options` are those of sbatch beside what a job's trainer asks for; `more` are others, as one string."""

    def __init__(self, signal_s: int = 120, more: str = "", **options: Any) -> None:
        given = {
            name.replace("_", "-"): value for name, value in options.items() if value is not None
        }
        self.options = [*(f"--{name}={value}" for name, value in given.items()), *shlex.split(more)]
        self.signal_s = signal_s
        self.cluster = Cluster()

    def _check(self, jobs: Sequence[Job]) -> None:
        if not shutil.which("sbatch"):
            raise ConfigError(
                ["hydra/launcher=slurm: there is no sbatch here; leave hydra/launcher out"]
            )
        super()._check(jobs)
        for job in jobs:
            resources(job.config.trainer)

    def _slots(self, jobs: Sequence[Job]) -> list[dict[str, str]]:
        """All at a time, unless `sweep.parallel` says less: SLURM has a queue itself."""
        parallel = OmegaConf.select(self.config, "sweep.parallel", default="auto")
        return [{}] * (len(jobs) if parallel == "auto" else int(parallel))

    def _start(self, job: Job, slot: dict[str, str]) -> Process:
        name = job_name(job.folder)
        number = self.cluster.named(name) or self._submit(job, name)
        return SlurmJob(self.cluster, number) if number else Refused()

    def _submit(self, job: Job, name: str) -> str | None:
        """The job's number; None where sbatch refuses it, which job.log says."""
        step = ["srun", "--kill-on-bad-exit=1", *self._command(job)]
        options = [
            f"--job-name={name}", f"--output={job.log}", "--open-mode=append", "--requeue", "--parsable",
            f"--signal=USR1@{self.signal_s}", *resources(job.config.trainer), *self.options,
        ]  # fmt: skip
        # The job follows no parent: it may be on another node, and outlives this driver.
        environment = {key: value for key, value in os.environ.items() if key != PARENT}
        command = ["sbatch", *options, f"--wrap=exec {shlex.join(step)}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            with job.log.open("a") as log:
                log.write(done.stderr)
            return None
        return done.stdout.strip().partition(";")[0]


def job_name(folder: Path) -> str:
    """Of a run directory: one's own jobs of other folders have other names."""
    return f"deeper-{folder.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:6]}"


def resources(trainer: Any) -> list[str]:
    """Options of sbatch for a trainer's nodes and devices. Raises `ConfigError` where they are `auto`."""
    devices = trainer.get("devices", "auto")
    number = len(devices) if OmegaConf.is_list(devices) else devices
    on_gpu = trainer.get("accelerator") in ("gpu", "cuda")
    if trainer.get("accelerator") == "auto" or not str(number).isdigit():
        raise ConfigError([
            "trainer: SLURM must be told what a job needs on a node; pass trainer=gpu, trainer=cpu, or "
            "trainer=ddp with the number as trainer.devices=8"
        ])  # fmt: skip
    nodes = [f"--nodes={trainer.get('num_nodes', 1)}", f"--ntasks-per-node={number}"]
    return [*nodes, f"--gpus-per-node={number}"] if on_gpu else nodes


class Cluster:
    """What squeue says of this user's jobs, asked at most every `POLL_S`."""

    def __init__(self) -> None:
        self._jobs: dict[str, str] | None = None
        self._asked = -POLL_S

    def jobs(self) -> dict[str, str] | None:
        """Number → name, of jobs that wait or run; None where squeue fails."""
        if time.monotonic() - self._asked >= POLL_S:
            self._asked = time.monotonic()
            words = ["squeue", "--me", "--noheader", "--format=%i %j"]
            done = subprocess.run(words, capture_output=True, text=True)
            found = [line.partition(" ") for line in done.stdout.splitlines()]
            listed = {number: name.strip() for number, _, name in found}
            self._jobs = None if done.returncode else listed
        return self._jobs

    def named(self, name: str) -> str | None:
        """The number of the job of that name. Raises `ValueError` where squeue fails."""
        if (jobs := self.jobs()) is None:
            raise ValueError("squeue fails, so that jobs could be submitted twice; try again")
        return next((number for number, found in jobs.items() if found == name), None)


class Refused:
    """A job that sbatch has not taken."""

    def poll(self) -> int:
        return REFUSED

    def send_signal(self, number: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class SlurmJob:
    """A job that SLURM has, with what the queue needs of a process."""

    def __init__(self, cluster: Cluster, number: str) -> None:
        self.cluster, self.number = cluster, number
        self._seen = time.monotonic()

    def poll(self) -> int | None:
        """0 when it has ended; run.json says how."""
        jobs = self.cluster.jobs()
        if jobs is None or self.number in jobs:
            self._seen = time.monotonic()
        return 0 if time.monotonic() - self._seen > LEFT_S else None

    def send_signal(self, number: int) -> None:
        self.terminate()

    def terminate(self) -> None:
        """SIGTERM, on which it saves, and after SLURM's KillWait SIGKILL."""
        subprocess.run(["scancel", self.number], capture_output=True)

    def kill(self) -> None:
        subprocess.run(["scancel", "--signal=KILL", self.number], capture_output=True)
