"""What the command line chose. `experiment=[a,b]` is absent from Hydra's own record of choices."""

import re
from collections.abc import Sequence
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig


def task_overrides() -> list[str]:
    """The overrides of this run; empty where a config was composed in a notebook."""
    if not HydraConfig.initialized():
        return []
    return list(HydraConfig.get().overrides.task)


def chosen(group: str, overrides: Sequence[str]) -> list[str]:
    """The option or options that `overrides` give a group, in order; the last override wins."""
    for override in reversed(overrides):
        key, equals, value = override.partition("=")
        if equals and key.lstrip("+") == group:
            words = value.strip().strip("[]").split(",")
            return [word.strip() for word in words if word.strip() not in ("", "null")]
    return []


def recipe(overrides: Sequence[str]) -> str:
    """The recipe that `overrides` choose, else that of this run, else the default."""
    running = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return (chosen("recipe", overrides) or [running.get("recipe") or "baseline"])[0]


def experiments(overrides: Sequence[str]) -> list[str]:
    return chosen("experiment", overrides)


def without(groups: Sequence[str], overrides: Sequence[str]) -> list[str]:
    return [o for o in overrides if o.partition("=")[0].lstrip("+") not in groups]


def protocols(cfg: Any) -> dict[str, Any]:
    """Name → node of the protocols asked for; empty where that is the checkpoint's own."""
    if cfg.protocols and cfg.protocol is not None:
        raise ValueError(
            f"protocol=… and protocols=[{','.join(cfg.protocols)}]: pass one of the two"
        )
    if cfg.protocol is not None:
        chosen = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
        return {str(chosen.get("protocol") or protocol_name(cfg.protocol)): cfg.protocol}
    rest = without(["protocol", "protocols"], task_overrides())
    return {name: compose("eval", [*rest, f"protocol={name}"]).protocol for name in cfg.protocols}


def protocol_name(node: Any) -> str:
    """As its file in configs/protocol is called."""
    return str(node["_target_"]).rpartition(".")[2].lower()


def run_name() -> str:
    """recipe-experiment…, with what the rest of a path may hold."""
    overrides = task_overrides()
    words = [recipe(overrides), *(e for e in experiments(overrides) if e != "baseline")]
    return safe("-".join(words))


def safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("_") or "run"
