"""hydra/launcher=process: runs each job of a multirun in a process of its own.

A crash, an out-of-memory kill or a library's global state ends with its job; the other jobs run on.
A job's run directory is named by its identity, in a store that all multiruns share: what has
finished there is skipped, what has begun goes on, and what failed is tried again.
"""

import logging
import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from deeper.cli.arguments import in_quotes, quoted
from deeper.config import overrides
from deeper.config.errors import ConfigError
from deeper.config.secrets import without_secrets
from deeper.runs import directory
from deeper.runs.identity import SEEDS
from deeper.sweep import images, manifest
from deeper.sweep.jobs import FAILED, INTERRUPTED, Job, names
from deeper.sweep.queue import Process, Queue, slots, start_process
from deeper.sweep.table import show_final

log = logging.getLogger(__name__)

SWEEP_ONLY = (
    "hydra.mode", "hydra.run.dir", "hydra.sweep", "hydra/launcher", "hydra.launcher", "hydra/sweeper",
    "hydra.sweeper",
)  # fmt: skip
"""Overrides of Hydra's own keys that jobs do not get."""


class JobFailed(HydraException):
    """Names the job, why it failed and its directory."""

    exit_status = 1


class ProcessLauncher(Launcher):
    """Checks all jobs in the parent, then runs those that have something to do; numbered from 0."""

    watch: Callable[[Job], bool] = staticmethod(lambda job: False)
    """As `Queue.watch`; a search sets it."""

    shows_each = True
    """Whether a batch of jobs ends in a table; a search has many, and shows all at its end."""

    searched: Collection[str] = ()
    """Keys that a search varies."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.config = hydra_context, config
        self.launched: list[Job] = []
        self.sweep = Path(str(config.hydra.sweep.dir))
        if not self.sweep.exists():  # Hydra writes it before any job is composed
            directory.remove_if_refused(self.sweep / "multirun.yaml", self.sweep)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        written = self.sweep / "multirun.yaml"
        written.write_text(without_secrets(written.read_text()))
        if not job_overrides:
            raise ConfigError(["the sweep has no jobs: a glob or a list of values is empty"])
        jobs = self._composed(initial_job_idx, job_overrides)
        changed = images.changed(jobs)
        to_do = [job for job in jobs if job.folder in changed or not job.has_ended()]
        self._check(to_do)
        strict = OmegaConf.select(self.config, "sweep.strict", default=False)
        manifest.refuse_other_code(jobs, strict)
        directory.settle()
        for job in to_do:
            if why := changed.pop(job.folder, None):
                images.make_room(job, why)
        manifest.write(self.sweep, jobs)
        self.names = names(jobs, self.searched)
        log.info(f"{len(jobs)} jobs, {len(jobs) - len(to_do)} of them done before: {self.sweep}")
        if to_do:
            Queue(jobs, self._start, self._slots(to_do), self.watch).run()
        manifest.mark_other_code(jobs)
        self.launched += jobs
        if self.shows_each:
            self.show()
        return [_returned(job) for job in jobs]

    def show(self) -> None:
        show_final(self.launched, str(self.config.get("objective", "objective")))

    def _composed(self, first: int, job_overrides: Sequence[Sequence[str]]) -> list[Job]:
        jobs: list[Job] = []
        for number, words in enumerate(job_overrides, first):
            config = self.context.config_loader.load_sweep_config(self.config, [*words])
            with open_dict(config):
                config.hydra.runtime.output_dir = str(self.sweep)
                config.hydra.job.num = number
            HydraConfig.instance().set_config(config)
            folder = Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)
            jobs.append(Job(number, [*words], folder, config))
        HydraConfig.instance().set_config(self.config)
        if any(job.config.get("reproduce") for job in jobs):
            raise ConfigError(["reproduce=: reproduces one run at a time; leave -m out"])
        return jobs

    def _check(self, jobs: Sequence[Job]) -> None:
        """Raises `ConfigError` with the problems of all jobs, before one has begun.

        Jobs that differ in their seeds alone have the same ones: the first stands for all.
        """
        from deeper.config.check import check, check_eval

        problems = []
        first = {tuple(overrides.without(SEEDS, job.words)): job for job in reversed(jobs)}
        for job in sorted(first.values(), key=lambda job: job.number):
            HydraConfig.instance().set_config(job.config)
            plain = OmegaConf.masked_copy(job.config, [key for key in job.config if key != "hydra"])
            try:
                (check if "model" in plain else check_eval)(plain)
            except ConfigError as error:
                what = " ".join(job.words)
                problems += [f"job {job.number} ({what}): {p}" for p in error.problems]
        HydraConfig.instance().set_config(self.config)
        if problems:
            raise ConfigError(problems)

    def _slots(self, jobs: Sequence[Job]) -> list[dict[str, str]]:
        return slots(self.config, [job.config for job in jobs])

    def _start(self, job: Job, slot: dict[str, str]) -> Process:
        return start_process(job, self._command(job), slot)

    def _command(self, job: Job) -> list[str]:
        """Starts a job, or goes on with one that has begun."""
        words = [*job.overrides, "resume=auto"] if "model" in job.config else job.overrides
        hydra = [o for o in self.config.hydra.overrides.hydra if not o.startswith(SWEEP_ONLY)]
        where = [
            "hydra.mode=RUN",
            quoted(f"hydra.run.dir={job.folder}"),
            f"hydra.job.num={job.number}",
            f"hydra.sweep.dir={in_quotes(str(self.sweep))}",
        ]
        if name := self.names.get(job.number):
            where.append(f"hydra.sweep.subdir={in_quotes(name)}")
        options = overrides.config_options(sys.argv[1:])
        return [sys.executable, os.path.abspath(sys.argv[0]), *options, *words, *hydra, *where]


def _returned(job: Job) -> JobReturn:
    """A job that diverged is no failure: its objective is None."""
    found = JobReturn(overrides=job.overrides, cfg=job.config, working_dir=str(job.folder))
    lost = job.state in (FAILED, INTERRUPTED)
    found.status = JobStatus.FAILED if lost else JobStatus.COMPLETED
    found.return_value = job.objective
    if lost:
        found.return_value = JobFailed(f"job {job.number} {job.state}: {job.cause}: {job.folder}")
    return found
