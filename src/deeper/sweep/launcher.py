"""hydra/launcher=process: each job of a multirun in a process of its own.

A crash, an out-of-memory kill or a library's global state ends with its job; the others go on.
"""

import json
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

log = logging.getLogger(__name__)

OWN = (
    "hydra.mode",
    "hydra.run.dir",
    "hydra.sweep",
    "hydra/launcher",
    "hydra/sweeper",
    "hydra.sweeper",
)
"""Overrides of Hydra itself that are about the sweep, not about a job."""


class JobFailed(HydraException):
    """Names the job, its exit status and its directory."""

    exit_status = 1


class ProcessLauncher(Launcher):
    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.config = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        sweep = Path(str(self.config.hydra.sweep.dir))
        jobs = self._jobs(sweep, initial_job_idx, job_overrides)
        for number, job in enumerate(jobs, initial_job_idx):
            assert job.overrides is not None  # noqa: S101
            log.info(f"job {number + 1 - initial_job_idx} of {len(jobs)}: {_spoken(job.overrides)}")
            self._run(number, job)
        failed = sum(job.status == JobStatus.FAILED for job in jobs)
        log.info(f"{len(jobs) - failed} finished, {failed} failed: {sweep}")
        return jobs

    def _jobs(
        self, sweep: Path, first: int, job_overrides: Sequence[Sequence[str]]
    ) -> list[JobReturn]:
        """Checked in the parent, so that a mistake in any job stops all before one has begun."""
        from deeper.config.errors import ConfigError

        jobs, problems = [], []
        for number, overrides in enumerate(job_overrides, first):
            try:
                jobs.append(self._job(sweep, number, list(overrides)))
            except ConfigError as error:
                problems += [f"job {number} ({_spoken(overrides)}): {p}" for p in error.problems]
        HydraConfig.instance().set_config(self.config)
        if problems:
            raise ConfigError(problems)
        return jobs

    def _job(self, sweep: Path, number: int, overrides: list[str]) -> JobReturn:
        from deeper.config.check import check, check_eval
        from deeper.config.errors import refuse_multirun_with_ddp
        from deeper.config.instantiate import resolved
        from deeper.runs.identity import identity

        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.runtime.output_dir = str(sweep)
            config.hydra.job.num = number
        HydraConfig.instance().set_config(config)
        plain = config.copy()
        with open_dict(plain):
            del plain["hydra"]
        refuse_multirun_with_ddp(plain)
        (check if "model" in plain else check_eval)(plain)
        folder = sweep / f"{number}-{identity(resolved(plain))[:8]}"
        return JobReturn(overrides=overrides, cfg=plain, working_dir=str(folder))

    def _run(self, number: int, job: JobReturn) -> None:
        """A job that has finished is not run again; one that has a checkpoint goes on from it."""
        from deeper.cli.arguments import quoted
        from deeper.runs.directory import LAST
        from deeper.runs.provenance import code_hash

        folder = Path(str(job.working_dir))
        overrides = list(job.overrides or [])
        before = _record(folder)
        if before.get("status") == "finished":
            older = "" if before.get("code") == code_hash() else ", by other code than today's"
            log.info(f"job {number} has finished already{older}: {folder}")
            job.status, job.return_value = JobStatus.COMPLETED, before.get("objective")
            return
        if (folder / LAST).exists():
            overrides = [quoted(f"resume={folder}")]
        hydra = [o for o in self.config.hydra.overrides.hydra if not o.startswith(OWN)]
        command = [sys.executable, os.path.abspath(sys.argv[0]), *_flags(sys.argv[1:])]
        command += [*overrides, *hydra]
        command += ["hydra.mode=RUN", quoted(f"hydra.run.dir={folder}"), f"hydra.job.num={number}"]
        code = _patiently(subprocess.Popen(command))
        if code == 0 and _record(folder).get("status") == "finished":
            job.status = JobStatus.COMPLETED
            job.return_value = _record(folder).get("objective")
        else:
            job.status = JobStatus.FAILED
            job.return_value = JobFailed(f"job {number} ended with status {code}: {folder}")
            log.error(f"job {number} FAILED with status {code}: {_spoken(job.overrides or [])}")


def _patiently(process: subprocess.Popen[bytes]) -> int:
    """Ctrl-C reaches the job too, which needs a while to write how it ended."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


def _record(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


def _flags(arguments: Sequence[str]) -> list[str]:
    """Hydra's own options that choose config files, which every job needs too."""
    kept = []
    for place, word in enumerate(arguments):
        name = word.partition("=")[0]
        if name in ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp"):
            kept += [word] if "=" in word else [word, arguments[place + 1]]
    return kept


def _spoken(overrides: Sequence[str]) -> str:
    return " ".join(filter_overrides(overrides)) or "(no overrides)"
