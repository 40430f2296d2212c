"""Weights & Biases, set up without a prompt."""

import os
from pathlib import Path
from typing import Literal

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only


def wandb(
    mode: Literal["auto", "online", "offline", "disabled"] = "auto",
    *,
    project: str,
    name: str,
    id: str,
    group: str | None,
    save_dir: str,
    tags: list[str] | None = None,
    notes: str | None = None,
) -> WandbLogger:
    """A W&B logger that never prompts, and without a key never waits for a network.

    auto: online with a key, offline without. WANDB_MODE, where set, decides.
    """
    import wandb as library

    chosen = {"dryrun": "offline", "run": "online"}.get(m := os.environ.get("WANDB_MODE", mode), m)
    if chosen not in ("auto", "online", "offline", "disabled"):
        raise ValueError(f"WANDB_MODE={chosen}: choose from online, offline, disabled")
    if chosen in ("auto", "online"):
        try:
            key = library.login(prompt=False, verify=False)
        except library.errors.AuthenticationError as error:
            raise ValueError(f"the W&B key is malformed: {error}") from error
        if not key and chosen == "online":
            raise ValueError(
                "logger.wandb.mode=online, but there is no W&B key: run `wandb login`, set "
                "WANDB_API_KEY, or pass logger.wandb.mode=offline"
            )
        chosen = "online" if key else "offline"
        if not key:
            rank_zero_only(print)(
                f"W&B: no key found, so this run is recorded offline; see it with `wandb leet "
                f"{save_dir}/wandb`, upload it later with `wandb sync {save_dir}/wandb/offline-run-*`"
            )
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    return WandbLogger(
        project=project,
        name=name,
        id=id,
        group=group,
        save_dir=save_dir,
        tags=tags,
        notes=notes,
        mode=chosen,
        offline=chosen == "offline",
        settings=library.Settings(init_timeout=30, console="off", silent=chosen == "offline"),
    )
