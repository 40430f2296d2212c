"""A training run: its directory, config, checkpoint and record."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from deeper import signals
from deeper.config import experiments, overrides
from deeper.config.errors import ConfigError
from deeper.config.instantiate import resolved
from deeper.config.secrets import without_secrets
from deeper.files import remove_temporary
from deeper.processes import lead_children
from deeper.runs import directory, record
from deeper.runs.identity import SEEDS, identity_of
from deeper.runs.lease import Lease
from deeper.runs.resume import resumed_config, save_config
from deeper.training.precision import accelerator_for, resolved_precision

if TYPE_CHECKING:  # `open` answers a mistake before torch and Lightning are imported
    from lightning.pytorch.loggers import Logger

    from deeper.data.datamodule import ImageData


VARIED = ("experiment", *SEEDS, "resume")
"""Words that runs of one cell may have of their own."""


CHOSEN = ("overrides", "recipe", "experiments", "cell")
"""Keys of run.json that say what the command chose."""


@dataclass(frozen=True)
class Run:
    """`checkpoint` is the one to continue from, None to start from the first step."""

    directory: Path
    config: DictConfig
    checkpoint: Path | None
    lease: Lease | None
    """None in processes other than the main one, which alone writes."""
    finished: dict[str, Any] | None = None
    """The record of a run that has nothing left to do."""

    @classmethod
    def open(cls, cfg: DictConfig) -> "Run":
        """The run in the directory that Hydra made, or the one that `resume=` means."""
        folder = directory.open_dir(HydraConfig.get().runtime.output_dir, cfg.resume)
        lease = _lease(folder, cfg.resume) if record.is_main_process() else None
        if cfg.reproduce is not None:
            from deeper.runs import reproduce

            return cls(folder, reproduce.recorded_config(cfg), None, lease)
        if cfg.resume is None or not (folder / record.FILE).exists():
            return cls(folder, cfg, None, lease)
        before, config = record.read_record(folder), resumed_config(cfg, folder)
        _pin_precision(config, before)
        files = [folder / file for file in (directory.LAST, directory.PREVIOUS)]
        files += sorted(folder.glob(f"{directory.BEST.removesuffix('.ckpt')}*.ckpt"))
        if not any(file.exists() for file in files):
            print(f"{folder}: was stopped before its first checkpoint, and starts again")
            return cls(folder, config, None, lease)
        from deeper.checkpoint import epochs_done, load_checkpoint, newest_checkpoint

        checkpoint = newest_checkpoint(files)
        done = epochs_done(load_checkpoint(checkpoint, mmap=True))
        if config.trainer.max_epochs < done:
            raise ConfigError(
                [f"epochs={config.trainer.max_epochs}: the run has done {done} already; pass more"]
            )
        # An early stopping may have ended it before its last epoch.
        trained = before.get("config", {}).get("trainer", {}).get("max_epochs", done)
        tested = "test/n" in before.get("results", {}) or not config.test
        ended = before.get("status") == "finished" and tested
        if not ended or config.trainer.max_epochs != trained:
            return cls(folder, config, checkpoint, lease)
        if lease:
            lease.release()
            directory.discard_refused()  # what Hydra wrote for a start that has nothing to do
        return cls(folder, config, checkpoint, lease, before)

    @contextmanager
    def recorded(self, data: "ImageData", loggers: "Sequence[Logger]") -> Iterator[dict[str, Any]]:
        """Accept the start, and keep run.json until the run ends, however it ends.

        The caller adds `results` and `objective` to the dict. The loggers get what it holds.
        """
        from deeper.checkpoint import copy_checkpoint
        from deeper.loggers import mirror
        from deeper.training.failures import explained

        facts = self._facts(data)
        directory.settle()
        main = record.is_main_process()
        if main:
            remove_temporary(self.directory)
            if self.checkpoint not in (None, last := self.directory / directory.LAST):
                copy_checkpoint(self.checkpoint, last)
            save_config(self.config, self.directory)
        signals.install()
        lead_children()
        try:
            with record.recorded(self.directory, **facts) as content:
                try:
                    mirror.log_facts(loggers, content)
                    yield content
                    mirror.log_results(loggers, content)
                except (RuntimeError, MemoryError) as error:
                    if (failure := explained(error)) is not None:
                        raise failure from error
                    raise
        except BaseException as error:
            stopped = isinstance(error, signals.Stopped) or record.is_interrupt(error)
            if main and stopped:
                _requeue(error)
                print(f"\ncontinue: python src/train.py {self._word('resume')}", flush=True)
            raise
        finally:
            signals.restore()
            if self.lease:
                self.lease.release()
        if main and (self.directory / directory.BEST).exists():
            # The official set that chose the checkpoint is no test.
            split = " split=val" if self.config.data.get("val_from") == "official" else ""
            print(f"evaluate: python src/eval.py {self._word('run')}{split}", flush=True)

    def _facts(self, data: "ImageData") -> dict[str, Any]:
        """Raises `ValueError` where a run that is resumed or reproduced had other images."""
        cfg, plain, fingerprint = self.config, resolved(self.config), data.fingerprint()
        resumed = cfg.resume is not None and (self.directory / record.FILE).exists()
        earlier = record.read_record(self.directory) if resumed else {}
        asked = earlier.get("precision", {}).get("asked", plain["precision"])
        accelerator = accelerator_for(cfg.trainer.get("accelerator"))
        used = resolved_precision(plain["precision"], accelerator)
        facts = {
            "identity": identity_of(cfg, precision=asked),
            "precision": {"asked": asked, "used": used.name},
            "config": without_secrets(plain),
            "data": fingerprint,
            "images": data.counts._asdict(),
        }
        if resumed or cfg.reproduce:
            from deeper.runs import reproduce

            earlier = earlier or reproduce.record_of(cfg)
            before = earlier.get("data")
            if before != fingerprint:
                raise ValueError(
                    f"{cfg.data.root}: not the images that {cfg.resume if resumed else cfg.reproduce} "
                    f"was trained on (fingerprint {fingerprint}, then {before}); pass "
                    f"data.root=<their folder>, or start a new run"
                )
        if resumed:
            return facts
        if cfg.reproduce:  # its words name no experiment, but the record that it follows does
            return (
                facts | {key: earlier[key] for key in CHOSEN if key in earlier} | {"seed": cfg.seed}
            )
        words = overrides.task_overrides()
        sweep, differs = overrides.sweep_of_job() or (None, None)
        return facts | {
            "sweep": sweep,
            "job": differs,
            "overrides": without_secrets(overrides.without(("resume",), words)),
            "recipe": overrides.recipe(words),
            "experiments": overrides.chosen_options("experiment", words),
            "seed": cfg.seed,
            # Runs of one cell differ in their experiments and seeds: what reports compare.
            "cell": identity_of(experiments.composed(overrides.without(VARIED, words))),
        }

    def _word(self, key: str) -> str:
        """`key=<directory>` to paste into the shell, after what this command trusts."""
        trust = [word for word in sys.argv[1:] if overrides.key_of(word) == "trust"]
        return shlex.join([*trust, f"{key}={self.directory}"])


def _pin_precision(config: DictConfig, before: dict[str, Any]) -> None:
    """`auto` stays what it meant when the run started; another machine may choose otherwise."""
    pinned = before.get("precision", {}).get("used")
    if config.precision == "auto" and pinned:
        here = resolved_precision("auto", accelerator_for(config.trainer.get("accelerator")))
        if here.name != pinned:
            print(
                f"resume: precision={pinned} as when the run started; here it would be {here.name} "
                f"({here.reason})"
            )
        config.precision = pinned


def _lease(folder: Path, resume: str | None) -> Lease:
    try:
        lease = Lease.acquire(folder)
    except ValueError:
        if resume in (None, "auto"):
            directory.settle()  # what lies there is the holder's
        raise
    directory.remove_if_refused(lease.path, folder)
    return lease


def _requeue(error: BaseException) -> None:
    """SIGUSR1 is what sbatch's --signal sends before a job's time is up: SLURM starts it again."""
    job = os.environ.get("SLURM_JOB_ID")
    if job and isinstance(error, signals.Stopped) and error.number == signal.SIGUSR1:
        try:
            done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
            said = done.stderr.strip() or "queued again"
        except OSError as missing:  # as in a container
            said = f"not queued again ({missing})"
        print(f"SLURM job {job}: {said}", flush=True)
