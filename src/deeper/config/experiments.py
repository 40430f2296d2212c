"""An experiment changes exactly one thing of the recipe it is put on. This module enforces that."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import combinations
from typing import Any
from weakref import WeakKeyDictionary

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import OmegaConf

from deeper.config.compositions import Compositions
from deeper.config.groups import group_options
from deeper.config.overrides import chosen_options, recipe, without

BOOKKEEPING = {"name", "requires", "claim", "hydra"}
"""Keys that change nothing of a training."""

ADVISED = ("paper", "baseline")
"""Recipes to which an experiment is compared when another recipe refuses it."""


def misplaced_experiments(words: Sequence[str]) -> Iterator[str]:
    """Experiments that cannot apply here, that change nothing, or that set what another one sets."""
    names = [name for name in chosen_options("experiment", words) if name != "baseline"]
    rest = without(["experiment", "debug", "resume"], words)
    base = composed(rest) if names else None
    changed: dict[str, set[str]] = {}
    for name in names:
        try:
            changed[name] = _changed_by(name, rest, base)
        except ValueError as error:
            yield f"{error}{_elsewhere(name, rest)}"
    for one, other in combinations(changed, 2):
        if both := sorted(changed[one] & changed[other]):
            yield f"experiments {one} and {other} both set {_group(both[0])}: choose one"


def _changed_by(name: str, rest: Sequence[str], base: Any) -> set[str]:
    """Keys of `base`, composed of `rest`, that the experiment changes.

    Raises `ValueError` where it does not apply.
    """
    config = composed([*rest, f"experiment={name}"])
    this, choices = f"experiment={name}", base.hydra.runtime.choices
    for group, wanted in config.requires.items():
        if choices.get(group) not in wanted:
            raise ValueError(
                f"{this} needs {group}={'|'.join(wanted)}, but recipe={recipe(rest)} has "
                f"{group}={choices.get(group)}"
            )
    before, after = leaves(base), leaves(config)
    for key in after.keys() - before.keys():
        part = key.rpartition(".")[0]
        has_place = any(f"{known}.".startswith(f"{part}.") for known in before)
        if part and not has_place and f"{part}._target_" not in after:
            raise ValueError(no_such_part(name, part, rest))
    changed = changed_keys(before, after)
    if not changed:
        raise ValueError(f"{this} changes nothing of recipe={recipe(rest)}")
    return changed


def no_such_part(experiment: str, part: str, words: Sequence[str]) -> str:
    group = part.replace("/", ".").partition(".")[0]
    option = (chosen_options(group, words) or [recipe(words)])[0]
    return f"experiment={experiment} changes {part}, and {group}={option} has no such part"


def _elsewhere(name: str, rest: Sequence[str]) -> str:
    """The first of two recipes on which the experiment applies, as advice."""
    for other in ADVISED:
        with suppress(ValueError, HydraException):
            words = [*without(["recipe"], rest), f"recipe={other}"]
            if _changed_by(name, words, composed(words)):
                return f"; it applies to recipe={other}"
    return ""


def _group(key: str) -> str:
    """The config group that holds a key: `model/aux` for `model.aux.inception4a`; else the key."""
    below = [g for g in group_options() if f"{key}.".startswith(g.replace("/", ".") + ".")]
    return max(below, key=len, default=key)


def composed(words: Sequence[str]) -> Any:
    """train.yaml, or the config that --config-name names, with Hydra's own node."""
    name = HydraConfig.get().job.config_name if HydraConfig.initialized() else "train"
    loader: Any = GlobalHydra.instance().config_loader()
    if loader not in _composed:
        _composed[loader] = Compositions(
            loader, lambda words: compose(name, words, return_hydra_config=True)
        )
    return _composed[loader].of(words)


_composed: WeakKeyDictionary[Any, Compositions] = WeakKeyDictionary()
"""Of each of Hydra's config loaders; a process that trains once has one."""


def leaves(config: Any) -> dict[str, Any]:
    """Key → value as written: interpolations stay, so that a change counts where it was made."""
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)  # noqa: S101
    return dict(flattened({key: plain[key] for key in plain if key not in BOOKKEEPING}))


def flattened(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key, value; an empty dict is a value."""
    if isinstance(node, dict) and node:
        for name, child in node.items():
            yield from flattened(child, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


def changed_keys(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Keys that were added, changed or removed."""
    absent = object()
    keys = before.keys() | after.keys()
    return {key for key in keys if before.get(key, absent) != after.get(key, absent)}
