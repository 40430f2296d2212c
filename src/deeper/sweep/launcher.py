"""hydra/launcher=process: runs each job of a multirun in a process of its own.

A crash, an out-of-memory kill or a library's global state ends with its job; the other jobs run on.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from deeper.config.errors import ConfigError
from deeper.config.secrets import without_secrets
from deeper.processes import lead_children
from deeper.runs import directory, record

log = logging.getLogger(__name__)

SWEEP_ONLY = (
    "hydra.mode",
    "hydra.run.dir",
    "hydra.sweep",
    "hydra/launcher",
    "hydra/sweeper",
    "hydra.sweeper",
)
"""Overrides of Hydra's own keys that jobs do not get."""


class JobFailed(HydraException):
    """Names the job, its exit status and its directory."""

    exit_status = 1


class ProcessLauncher(Launcher):
    """Checks all jobs in the parent, then runs them one by one; jobs are numbered from 0."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.config = hydra_context, config
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
        jobs = self._checked_jobs(initial_job_idx, job_overrides)
        directory.settle()
        log.info(f"{len(jobs)} jobs in {self.sweep}")
        for number, job in enumerate(jobs, initial_job_idx):
            log.info(f"job {number}: {_words(job.overrides)}")
            self._run(number, job)
        failed = sum(job.status == JobStatus.FAILED for job in jobs)
        log.info(f"{len(jobs) - failed} finished, {failed} failed: {self.sweep}")
        return jobs

    def _checked_jobs(self, first: int, job_overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
        """Raises `ConfigError` with the problems of all jobs, before one has begun."""
        jobs, problems = [], []
        for number, overrides in enumerate(job_overrides, first):
            try:
                jobs.append(self._checked_job(number, list(overrides)))
            except ConfigError as error:
                problems += [f"job {number} ({_words(overrides)}): {p}" for p in error.problems]
        HydraConfig.instance().set_config(self.config)
        if problems:
            raise ConfigError(problems)
        return jobs

    def _checked_job(self, number: int, overrides: list[str]) -> JobReturn:
        # These imports load torch, which a refused composition does without.
        from deeper.config.check import check, check_eval
        from deeper.config.instantiate import resolved
        from deeper.runs.identity import identity

        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.runtime.output_dir = str(self.sweep)
            config.hydra.job.num = number
        HydraConfig.instance().set_config(config)
        plain = config.copy()
        with open_dict(plain):
            del plain["hydra"]
        (check if "model" in plain else check_eval)(plain)
        folder = self.sweep / f"{number}-{identity(resolved(plain))[:8]}"
        return JobReturn(overrides=overrides, cfg=plain, working_dir=str(folder))

    def _run(self, number: int, job: JobReturn) -> None:
        """Skip a job that has finished; continue one that has begun."""
        from deeper.cli.arguments import quoted
        from deeper.runs.provenance import code_hash

        folder, overrides = Path(str(job.working_dir)), list(job.overrides or [])
        before = _record(folder)
        if before.get("status") == "finished":
            older = "" if before.get("code") == code_hash() else ", by other code than today's"
            log.info(f"job {number} has finished already{older}: {folder}")
            job.status, job.return_value = JobStatus.COMPLETED, before.get("objective")
            return
        if before:
            vouched = [word for word in overrides if word.startswith("trust=")]
            overrides = [quoted(f"resume={folder}"), *vouched]
        command = [sys.executable, os.path.abspath(sys.argv[0]), *_config_options(sys.argv[1:])]
        command += overrides
        command += [o for o in self.config.hydra.overrides.hydra if not o.startswith(SWEEP_ONLY)]
        command += ["hydra.mode=RUN", quoted(f"hydra.run.dir={folder}"), f"hydra.job.num={number}"]
        lead_children()
        code = _wait(subprocess.Popen(command))
        after = _record(folder)
        if code == 0 and after.get("status") == "finished":
            job.status, job.return_value = JobStatus.COMPLETED, after.get("objective")
        else:
            job.status = JobStatus.FAILED
            job.return_value = JobFailed(f"job {number} ended with status {code}: {folder}")
            log.error(f"job {number} FAILED with status {code}: {_words(job.overrides)}")


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Ctrl-C reaches the job too, which needs time to record that it was interrupted."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


def _record(folder: Path) -> dict[str, Any]:
    return record.read_record(folder) if (folder / record.FILE).exists() else {}


def _config_options(arguments: Sequence[str]) -> list[str]:
    """Hydra's command-line options that choose config files; every job needs them too."""
    kept = []
    for place, word in enumerate(arguments):
        name = word.partition("=")[0]
        if name in ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp"):
            kept += [word] if "=" in word else [word, arguments[place + 1]]
    return kept


def _words(overrides: Sequence[str] | None) -> str:
    return " ".join(without_secrets([*filter_overrides(overrides or [])])) or "(no overrides)"
