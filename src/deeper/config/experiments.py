"""An experiment changes exactly one thing of the recipe it is put on. This module enforces that."""

from collections.abc import Sequence
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from omegaconf import OmegaConf

from deeper.config.overrides import chosen, key_of, recipe, without
from deeper.config.overrides import experiments as chosen_experiments

BOOKKEEPING = {"name", "requires", "hydra"}
"""Keys that change nothing of a training."""

ADVISED = ("paper", "baseline")
"""Recipes to which an experiment is compared when another recipe refuses it."""


def problems(overrides: Sequence[str]) -> list[str]:
    """Experiments that cannot apply here, that change nothing, or that set what another one sets."""
    names = [name for name in chosen_experiments(overrides) if name != "baseline"]
    if not names:
        return []
    rest = without(["experiment", "debug", "resume"], overrides)
    base = composed(rest)
    lines: list[str] = []
    changes: dict[str, dict[str, Any]] = {}
    for name in names:
        try:
            changes[name] = _changes(name, base, rest)
        except ValueError as error:
            lines.append(f"experiment={name} {error}{_elsewhere(name, rest)}")
    for i, name in enumerate(changes):
        for other in list(changes)[i + 1 :]:
            if both := sorted(changes[name].keys() & changes[other].keys()):
                part = _group(both[0], base.hydra.runtime.choices)
                lines.append(f"experiments {name} and {other} both set {part}: choose one")
    return lines


def learning_rate_notes(cfg: Any, overrides: Sequence[str]) -> list[str]:
    """A line for a learning rate that the recipe chose for another norm or optimizer."""
    given = {key_of(override) for override in overrides}
    if {"lr", "optimizer.lr"} & given or cfg.optimizer.get("lr") != cfg.lr:
        return []
    if not {"optimizer", "model/norm", "experiment"} & given:
        return []
    of_recipe = [override for override in overrides if key_of(override) == "recipe"]
    theirs = composed(of_recipe).hydra.runtime.choices
    ours = composed(without(["debug", "resume"], overrides)).hydra.runtime.choices
    return [
        f"lr={cfg.lr:g}: recipe={recipe(overrides)} chose this rate for {group}={theirs[group]}, and "
        f"this run has {group}={ours[group]}; pass lr=<rate> for another"
        for group in ("model/norm", "optimizer")
        if group in ours and ours[group] != theirs.get(group)
    ]


def _changes(name: str, base: Any, rest: Sequence[str]) -> dict[str, Any]:
    """What the experiment changes of `base`, by key. Raises `ValueError` where it does not apply."""
    here = f"recipe={recipe(rest)}"
    try:
        config = composed([*rest, f"experiment={name}"])
    except HydraException as error:  # Could not override 'model/aux'. No match in the defaults list
        group = str(error).partition("override '")[2].partition("'")[0].partition("@")[0]
        if not group:
            raise
        raise ValueError(_no_such_part(group, rest)) from None
    choices = base.hydra.runtime.choices
    for group, wanted in config.requires.items():
        if choices.get(group) not in wanted:
            raise ValueError(
                f"needs {group}={'|'.join(wanted)}, but {here} has {group}={choices.get(group)}"
            )
    before, after = flat(base), flat(config)
    changed = difference(before, after)
    for key in changed:
        if _has_no_place(key, before, after):
            raise ValueError(_no_such_part(key.rpartition(".")[0], rest))
    if not changed:
        raise ValueError(f"changes nothing of {here}")
    return changed


def _no_such_part(part: str, rest: Sequence[str]) -> str:
    group = part.replace("/", ".").partition(".")[0]
    option = (chosen(group, rest) or [recipe(rest)])[0]
    return f"changes {part}, and {group}={option} has no such part"


def _elsewhere(name: str, rest: Sequence[str]) -> str:
    """The first of two recipes on which the experiment applies, as advice."""
    for other in ADVISED:
        words = [f"recipe={other}"]
        try:
            if other != recipe(rest) and _changes(name, composed(words), words):
                return f"; it applies to recipe={other}"
        except ValueError:
            continue
    return ""


def _group(key: str, groups: Any) -> str:
    """The config group that holds a key: `model/aux` for `model.aux.inception4a`; else the key."""
    below = [g for g in groups if f"{key}.".startswith(g.replace("/", ".") + ".") and "/" in g]
    return max(below, key=len, default=key)


def options(group: str) -> list[str]:
    """Names of the config files of a group, on all of Hydra's search path."""
    loader = GlobalHydra.instance().config_loader()
    return loader.get_group_options(group, ObjectType.CONFIG)


def composed(overrides: Sequence[str]) -> Any:
    """train.yaml, or the config that --config-name names, with Hydra's own node."""
    name = HydraConfig.get().job.config_name if HydraConfig.initialized() else "train"
    return compose(name, [*overrides], return_hydra_config=True)


def flat(config: Any) -> dict[str, Any]:
    """Key → value as written: interpolations stay, so that a change counts where it was made."""
    ours = [key for key in config if key not in BOOKKEEPING]
    plain = OmegaConf.to_container(OmegaConf.masked_copy(config, ours), resolve=False)
    leaves: dict[str, Any] = {}

    def walk(node: Any, key: str) -> None:
        if isinstance(node, dict) and node:
            for name, child in node.items():
                walk(child, f"{key}.{name}" if key else str(name))
        else:
            leaves[key] = node

    walk(plain, "")
    return leaves


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Keys that were added, changed or removed, with their new values."""
    absent = object()
    keys = sorted(before.keys() | after.keys())
    return {k: after.get(k) for k in keys if before.get(k, absent) != after.get(k, absent)}


def _has_no_place(key: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the recipe has neither this key nor an object that could take it."""
    holder = key.rpartition(".")[0]
    if not holder or key in before or f"{holder}._target_" in after:
        return False
    return not any(known == holder or known.startswith(f"{holder}.") for known in before)
