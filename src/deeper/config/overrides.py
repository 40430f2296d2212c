"""What the command line chose. `experiment=[a,b]` is absent from Hydra's own record of choices."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

NAMED = ("model", "augment", "mix", "preprocess", "loss", "optimizer", "scheduler", "averaging")
"""Groups whose options on the command line become part of the run's name."""


def task_overrides() -> list[str]:
    """The overrides of this run; empty where a config was composed in a notebook."""
    return [*HydraConfig.get().overrides.task] if HydraConfig.initialized() else []


def key_of(override: str) -> str:
    """`+model/head@p.q=fc` → `model/head`."""
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def chosen(group: str, overrides: Sequence[str]) -> list[str]:
    """The option or options that `overrides` give a group, in order; the last override wins."""
    for override in reversed(overrides):
        if "=" in override and key_of(override) == group:
            words = override.partition("=")[2].strip().strip("[]").split(",")
            return [word.strip() for word in words if word.strip() not in ("", "null")]
    return []


def recipe(overrides: Sequence[str]) -> str:
    """The recipe that `overrides` choose, else that of this run, else the default."""
    running = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return (chosen("recipe", overrides) or [running.get("recipe") or "baseline"])[0]


def experiments(overrides: Sequence[str]) -> list[str]:
    return chosen("experiment", overrides)


def without(groups: Sequence[str], overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if key_of(override) not in groups]


def is_multirun() -> bool:
    """Whether this process starts the jobs of a multirun."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def is_single_run() -> bool:
    """Whether this is a run that no multirun has started."""
    initialized = HydraConfig.initialized()
    return initialized and not is_multirun() and OmegaConf.is_missing(HydraConfig.get().job, "num")


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
    overrides = task_overrides()
    words = [recipe(overrides), *(e for e in experiments(overrides) if e != "baseline")]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join([*words, *_parts(overrides)]))[:100]


def _parts(overrides: Sequence[str]) -> Iterator[str]:
    """`model=timm` → timm, `model/head=fc` → head_fc."""
    for override in overrides:
        root, *below = key_of(override).split("/")
        option = "_".join(chosen("/".join([root, *below]), [override]))
        if root in NAMED and option:
            yield "_".join([*below, option])


def problems(overrides: Sequence[str], options: Callable[[str], Sequence[str]]) -> list[str]:
    """Choices that cannot be what was meant. `options` lists the option names of a group."""
    lines = []
    if len(recipes := chosen("recipe", overrides)) > 1:
        lines.append(f"recipe=[{','.join(recipes)}]: choose one recipe")
    if (sweep := chosen("sweep", overrides)) and is_single_run():
        lines.append(f"sweep={sweep[0]}: lists the jobs of a multirun; pass -m too")
    for override in overrides:
        option, group = override.partition("=")[2], key_of(override).replace(".", "/")
        if "." in key_of(override) and option[:1] not in ("", "{") and (known := options(group)):
            near = option if option in known else "|".join(known)
            lines.append(f"{override}: did you mean {group}={near}?")
    return lines
