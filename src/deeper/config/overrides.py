"""What the command line chose. `experiment=[a,b]` is absent from Hydra's own record of choices."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from deeper.config.groups import group_options

NAMED = ("model", "augment", "mix", "preprocess", "loss", "optimizer", "scheduler", "averaging")
"""Groups whose options on the command line become part of the run's name."""


def task_overrides() -> list[str]:
    """The overrides of this run; empty where a config was composed in a notebook."""
    return [*HydraConfig.get().overrides.task] if HydraConfig.initialized() else []


def key_of(override: str) -> str:
    """`+model/head@p.q=fc` → `model/head`."""
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def chosen_options(group: str, overrides: Sequence[str]) -> list[str]:
    """The option or options that `overrides` give a group, in order; the last override wins."""
    for override in reversed(overrides):
        if "=" in override and key_of(override) == group:
            words = override.partition("=")[2].strip().strip("[]").split(",")
            return [word.strip() for word in words if word.strip() not in ("", "null")]
    return []


def arm(experiments: Sequence[str]) -> str:
    """What tables call runs of these experiments: `no_aux+head_fc`, or `baseline`."""
    return "+".join(name for name in experiments if name != "baseline") or "baseline"


def recipe(overrides: Sequence[str]) -> str:
    """The recipe that `overrides` choose, else that of this run, else the default."""
    running = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return (chosen_options("recipe", overrides) or [running.get("recipe") or "baseline"])[0]


def without(groups: Sequence[str], overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if key_of(override) not in groups]


def is_multirun() -> bool:
    """Whether this process starts the jobs of a multirun."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def sweep_of_job() -> tuple[str, str | None] | None:
    """The multirun that started this run, and what differs in it; `sweep.launcher` says so in a job."""
    given = HydraConfig.get().overrides.hydra if HydraConfig.initialized() else []
    if is_multirun() or not any(word.startswith("hydra.sweep.dir=") for word in given):
        return None
    sweep, named = HydraConfig.get().sweep, any(w.startswith("hydra.sweep.subdir=") for w in given)
    return Path(sweep.dir).name, sweep.subdir if named else None


def jobs_share_a_process() -> bool:
    """Whether the launcher of this multirun is another than ours."""
    return is_multirun() and "hydra_plugins.launchers" not in str(
        HydraConfig.get().launcher._target_
    )


def jobs_run_elsewhere() -> bool:
    """Whether SLURM runs the jobs of this multirun, on machines that may have what this one has not."""
    return is_multirun() and "SlurmLauncher" in str(HydraConfig.get().launcher._target_)


def protocols(cfg: Any) -> dict[str, Any]:
    """Name → node of the protocols asked for; empty where the checkpoint's own is meant."""
    if cfg.protocols and cfg.protocol is not None:
        raise ValueError(
            f"protocol=… and protocols=[{','.join(cfg.protocols)}]: pass one of the two"
        )
    if cfg.protocol is not None:
        choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
        return {str(choices.get("protocol") or protocol_name(cfg.protocol)): cfg.protocol}
    rest = without(["protocol", "protocols"], task_overrides())
    return {name: compose("eval", [*rest, f"protocol={name}"]).protocol for name in cfg.protocols}


def protocol_name(node: Any) -> str:
    """The name of its file in configs/protocol."""
    return str(node["_target_"]).rpartition(".")[2].lower()


def run_name() -> str:
    """Recipe, experiments and other parts that the command line chose: `paper-no_aux-head_fc`."""
    words = task_overrides()
    experiments = chosen_options("experiment", words)
    parts = [recipe(words), *(name for name in experiments if name != "baseline")]
    for word in words:
        root, *below = key_of(word).split("/")
        option = "_".join(chosen_options(key_of(word), [word]))
        if root in NAMED and option:
            parts.append("_".join([*below, option]))  # model=timm → timm, model/head=fc → head_fc
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts))[:100]


def misused_overrides(overrides: Sequence[str]) -> Iterator[str]:
    """Choices that cannot be what was meant."""
    if len(recipes := chosen_options("recipe", overrides)) > 1:
        yield f"recipe=[{','.join(recipes)}]: choose one recipe"
    is_job = not HydraConfig.initialized() or not OmegaConf.is_missing(HydraConfig.get().job, "num")
    if (sweep := chosen_options("sweep", overrides)) and not is_job:
        yield f"sweep={sweep[0]}: lists the jobs of a multirun; pass -m too"
    options = group_options()
    for override in overrides:
        option, group = override.partition("=")[2], key_of(override).replace(".", "/")
        known = options.get(group, []) if "." in key_of(override) else []
        if known and option[:1] not in ("", "{"):
            near = option if option in known else "|".join(known)
            yield f"{override}: did you mean {group}={near}?"


def config_options(arguments: Sequence[str]) -> list[str]:
    """Hydra's command-line options that choose config files; every job needs them too."""
    kept = []
    for place, word in enumerate(arguments):
        name = word.partition("=")[0]
        if name in ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp"):
            kept += [word] if "=" in word else [word, arguments[place + 1]]
    return kept
