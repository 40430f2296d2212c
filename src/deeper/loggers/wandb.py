"""Weights & Biases, set up without a prompt."""

import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from deeper.config.secrets import without_secrets


class Wandb(WandbLogger):
    """Lightning's logger, which never prompts and waits for no network that is not there.

    auto: online with a key, offline without. WANDB_MODE, where set, decides. W&B's own step is the
    number of a row in metrics.jsonl, from 0; the x axis is `trainer/global_step`.
    """

    def __init__(
        self,
        mode: Literal["auto", "online", "offline", "disabled"] = "auto",
        *,
        project: str,
        name: str,
        id: str,
        group: str | None,
        save_dir: str,
        tags: list[str] | None = None,
        notes: str | None = None,
    ) -> None:
        asked = os.environ.get("WANDB_MODE", mode)
        chosen = {"dryrun": "offline", "run": "online"}.get(asked, asked)
        if chosen not in ("auto", "online", "offline", "disabled"):
            raise ValueError(f"WANDB_MODE={chosen}: choose from online, offline, disabled")
        super().__init__(
            project=project,
            name=name,
            id=id,
            group=group,
            save_dir=save_dir,
            tags=tags,
            notes=notes,
            mode=chosen,
            settings=wandb.Settings(init_timeout=30, console="off", silent=chosen == "offline"),
        )
        self._wandb_init.pop("anonymous")  # W&B warns that it has no effect
        self._repeats = 0
        """Rows to come that the server has from an earlier start."""
        if chosen in ("auto", "online"):
            self._look_for_key(required=chosen == "online")
        Path(save_dir).mkdir(parents=True, exist_ok=True)

    @rank_zero_only
    def _look_for_key(self, required: bool) -> None:
        self._wandb_init["mode"] = "online"
        try:
            key = wandb.login(prompt=False, verify=False)
        except wandb.errors.AuthenticationError as error:
            raise ValueError(f"the W&B key is malformed: {error}") from error
        if not key and required:
            raise ValueError(
                "logger.wandb.mode=online, but there is no W&B key: run `wandb login`, set "
                "WANDB_API_KEY, or pass logger.wandb.mode=offline"
            )
        url = wandb.setup().settings.base_url
        if not key:
            self._go_offline("no key found")
        elif not _is_reachable(url):
            self._go_offline(f"no connection to {url}")

    def _go_offline(self, why: str) -> None:
        self._wandb_init["mode"] = "offline"
        self._wandb_init["settings"].silent = True
        print(
            f"W&B: {why}, so this run is recorded offline; see it with `wandb leet "
            f"{self.save_dir}/wandb`, upload it later with `wandb sync {self.save_dir}/wandb/offline-run-*`"
        )

    @property
    def experiment(self) -> Any:
        """The W&B run, which the first access starts."""
        if self._experiment is None:
            with suppress(Exception):
                wandb.finish()  # a run of an earlier training in this process, which would go on
        arguments, sys.argv = sys.argv, without_secrets(sys.argv)  # which W&B records
        try:
            return super().experiment
        finally:
            sys.argv = arguments

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self._repeats:
            self._repeats -= 1
        else:
            super().log_metrics(metrics, step)

    @rank_zero_only
    def rebuild(self, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Log the rows (step, metrics) that W&B lacks, which are all of them offline.

        Offline files of earlier starts are removed unless they were synced.
        """
        known = self.experiment.starting_step
        for step, metrics in rows[known:]:
            self.log_metrics(metrics, step)
        self._repeats = max(known - len(rows), 0)
        current = Path(self.experiment.dir).parent
        for file in current.parent.glob(f"offline-run-*/run-{self._id}.wandb"):
            if file.parent != current and not file.with_suffix(".wandb.synced").exists():
                # The wandb-core of a killed process lives on for seconds, and may write there.
                shutil.rmtree(file.parent, ignore_errors=True)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Raises W&B's error where its process, wandb-core, has died."""
        super().finalize(status)
        try:
            if self._experiment is not None:
                _ = self._experiment.step  # asks wandb-core
        except Exception:
            with suppress(Exception, SystemExit):
                wandb.teardown()  # in place of its exit hook, which would print a traceback
            raise


def _is_reachable(url: str) -> bool:
    """Whether the host takes a connection; behind a proxy W&B has to find out."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    try:
        socket.create_connection((parts.hostname, port), timeout=5).close()
    except OSError:
        return parts.scheme in getproxies()
    return True
