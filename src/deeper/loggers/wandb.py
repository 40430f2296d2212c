"""Weights & Biases, set up without a prompt."""

import os
import shutil
import ssl
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import urlopen

import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from deeper.config.groups import PROJECT
from deeper.config.secrets import without_secrets
from deeper.loggers import facts
from deeper.loggers.media import Medium, histograms
from deeper.loggers.mirror import Row, replay
from deeper.runs.directory import BEST
from deeper.runs.record import command

INIT_TIMEOUT_S = 15
"""Of a server that answers, but does not take the run."""


VARIABLES = {
    "id": "WANDB_RUN_ID", "name": "WANDB_NAME", "group": "WANDB_RUN_GROUP", "tags": "WANDB_TAGS",
    "job_type": "WANDB_JOB_TYPE", "notes": "WANDB_NOTES",
}  # fmt: skip
"""Argument of wandb.init → the variable of the user's from which W&B takes it."""


class Wandb(WandbLogger):
    """Lightning's logger, which never prompts and waits for no network that is not there.

    auto: online with a key, offline without. WANDB_MODE, where set, decides. W&B's own step is the
    number of a row in metrics.jsonl, from 0; the x axis is `trainer/global_step`. What is None follows
    from the run's record, unless a variable of W&B says it; `tags` are added to those of the record.
    """

    def __init__(
        self,
        mode: Literal["auto", "online", "offline", "disabled"] = "auto",
        *,
        project: str,
        save_dir: str,
        id: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: list[str] | None = None,
        notes: str | None = None,
        log_model: bool = False,
        log_code: bool = False,
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
            job_type=job_type,
            save_dir=save_dir,
            tags=tags,
            notes=notes,
            mode=chosen,
            settings=wandb.Settings(
                init_timeout=INIT_TIMEOUT_S,
                console="off",
                silent=chosen == "offline",
                # It saves uncommitted changes too, which may hold a secret.
                save_code=None if "WANDB_SAVE_CODE" in os.environ else False,
            ),
        )
        self._wandb_init.pop("anonymous")  # W&B warns that it has no effect
        self._wandb_init["dir"] = os.environ.get("WANDB_DIR", save_dir)
        self.log_best, self.log_code = log_model, log_code
        self._media: dict[str, Any] = {}
        """Of the row to come: a row of their own would shift the numbers of all others."""
        self._repeats = 0
        """Rows to come that the server has from an earlier start."""
        if chosen in ("auto", "online"):
            self._look_for_key(required=chosen == "online")
        Path(self._wandb_init["dir"]).mkdir(parents=True, exist_ok=True)

    @rank_zero_only
    def _look_for_key(self, required: bool) -> None:
        self._wandb_init["mode"] = "online"
        with suppress(Exception):
            wandb.finish()  # W&B takes no login during an earlier run of this process
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
        elif not _answers(url):
            self._go_offline(f"no answer from {url}")

    def _go_offline(self, why: str) -> None:
        self._wandb_init["mode"] = "offline"
        self._wandb_init["settings"].silent = True
        folder = f"{self._wandb_init['dir']}/wandb"
        print(
            f"W&B: {why}, so this run is recorded offline; see it with `wandb leet {folder}`, upload "
            f"it later with `wandb sync {folder}/offline-run-*`"
        )

    @rank_zero_only
    def log_facts(self, record: Mapping[str, Any]) -> None:
        """What the run, which the first row starts, is called and holds."""
        ours = {
            "id": facts.run_id(record, Path(str(self.save_dir))),
            # W&B's own sweeps have names of their own, which differ.
            "name": None if "WANDB_SWEEP_ID" in os.environ else facts.name(record),
            "group": record.get("sweep"),
            "job_type": "train",
            "notes": command(record),
        }
        for key, value in ours.items():
            if self._wandb_init.get(key) is None and VARIABLES[key] not in os.environ:
                self._wandb_init[key] = value
        if VARIABLES["tags"] not in os.environ:
            given = self._wandb_init.get("tags") or []
            self._wandb_init["tags"] = [*dict.fromkeys([*facts.tags(record), *given])]
        self._wandb_init["config"] = record["config"] | {"run": facts.facts(record)}

    @rank_zero_only
    def log_results(self, record: Mapping[str, Any]) -> None:
        self.experiment.summary.update(facts.summary(record["results"]))
        best = Path(str(self.save_dir)) / BEST
        if self.log_best and best.exists():
            artifact = wandb.Artifact(f"model-{self.experiment.id}", "model")
            artifact.add_file(str(best))
            self.experiment.log_artifact(artifact, aliases=["best"])
        if self.log_code:
            self.experiment.log_code(str(PROJECT / "src"))

    @property
    def experiment(self) -> Any:
        """The W&B run, which the first access starts."""
        if self._experiment is None:
            with suppress(Exception):
                wandb.finish()  # a run of an earlier training in this process, which would go on
        arguments, sys.argv = sys.argv, without_secrets(sys.argv)  # which W&B records
        try:
            return super().experiment
        except wandb.errors.CommError as error:
            wandb.teardown()  # its process would say that the run is in use
            self._go_offline(str(error).strip().partition("\n")[0])
            return super().experiment
        finally:
            sys.argv = arguments

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        row, self._media = {**metrics, **self._media}, {}
        if self._repeats:
            self._repeats -= 1
        else:
            super().log_metrics(row, step)

    @rank_zero_only
    def log_medium(self, medium: Medium) -> None:
        if medium.file.suffix == ".png":
            self._media[medium.key] = wandb.Image(str(medium.file))
            return
        for key, counts, edges in histograms(medium):
            self._media[key] = wandb.Histogram(np_histogram=(counts, edges))

    @rank_zero_only
    def rebuild(self, rows: Sequence[Row]) -> None:
        """Log the rows that W&B lacks, which are all of them offline.

        Offline files of earlier starts are removed unless they were synced.
        """
        self._repeats = self.experiment.starting_step
        replay(self, rows)
        current = Path(self.experiment.dir).parent
        for file in current.parent.glob(f"offline-run-*/run-{self.experiment.id}.wandb"):
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
            wandb.run = None  # else W&B takes the dead run for one that goes on
            raise


def _answers(url: str) -> bool:
    """Whether a server, asked without the key, says anything within seconds."""
    try:
        urlopen(url, timeout=5).close()
    except HTTPError:
        return True
    except (OSError, HTTPException) as error:  # W&B's process has certificates of its own
        return isinstance(getattr(error, "reason", None), ssl.SSLError)
    return True
