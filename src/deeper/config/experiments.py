"""An experiment changes exactly one thing of the recipe it is put on. Here that is enforced."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from omegaconf import OmegaConf

from deeper.config import overrides as choices

BOOKKEEPING = {"name", "requires", "hydra"}


def problems(overrides: Sequence[str]) -> list[str]:
    """Experiments that can't apply here, that change nothing, or that undo one another."""
    names = [name for name in choices.experiments(overrides) if name != "baseline"]
    if not names:
        return []
    rest = choices.without(["experiment", "debug", "resume"], overrides)
    base = composed(rest)
    before = flat(base)
    changes: dict[str, dict[str, Any]] = {}
    lines = []
    for name in names:
        try:
            config = composed([*rest, f"experiment={name}"])
        except HydraException as error:
            lines.append(missing_part(name, str(error), rest))
            continue
        if need := _unmet(config.requires, base):
            group, wanted, has = need
            lines.append(
                f"experiment={name} needs {group}={'|'.join(wanted)}, but {_recipe(rest)} has "
                f"{group}={has}" + _elsewhere(name)
            )
            continue
        after = flat(config)
        changes[name] = difference(before, after)
        if strange := [key for key in changes[name] if _stranger(key, before, after)]:
            lines.append(_not_there(name, strange[0].rpartition(".")[0], rest))
        elif not changes[name]:
            lines.append(f"experiment={name} changes nothing of {_recipe(rest)}" + _elsewhere(name))
    for i, name in enumerate(changes):
        for other in list(changes)[i + 1 :]:
            if both := sorted(set(changes[name]) & set(changes[other])):
                lines.append(f"experiments {name} and {other} both set {both[0]}: choose one")
    return lines


def _unmet(requires: Mapping[str, Any], base: Any) -> tuple[str, Sequence[str], str] | None:
    """The first group of an experiment's `requires` that the base chose otherwise, and what it has."""
    for group, wanted in requires.items():
        if (has := base.hydra.runtime.choices.get(group)) not in wanted:
            return group, wanted, has
    return None


def missing_part(name: str, message: str, rest: Sequence[str]) -> str:
    """Hydra's "Could not override 'model/aux'. No match in the defaults list", in plain words."""
    group = message.partition("override '")[2].partition("'")[0].partition("@")[0]
    if not group:
        raise HydraException(message)
    return _not_there(name, group, rest)


def _not_there(name: str, part: str, rest: Sequence[str]) -> str:
    holder = part.replace("/", ".").partition(".")[0]
    option = (choices.chosen(holder, rest) or [_recipe(rest)])[0]
    return f"experiment={name} changes {part}, and {holder}={option} has no such part" + _elsewhere(
        name
    )


def _elsewhere(name: str) -> str:
    """The recipes on which the experiment does ask something."""
    works = []
    for recipe in options("recipe"):
        alone = [f"recipe={recipe}"]
        try:
            base, after = composed(alone), composed([*alone, f"experiment={name}"])
        except HydraException:
            continue
        if not _unmet(after.requires, base) and difference(flat(base), flat(after)):
            works.append(recipe)
    return f"; it applies to recipe={'|'.join(works)}" if works else ""


def _recipe(overrides: Sequence[str]) -> str:
    return f"recipe={choices.recipe(overrides)}"


def options(group: str) -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return loader.get_group_options(group, ObjectType.CONFIG)


def composed(overrides: Sequence[str]) -> Any:
    """train.yaml, or what --config-name says in its place, with Hydra's own node."""
    name = HydraConfig.get().job.config_name if HydraConfig.initialized() else "train"
    return compose(name, [*overrides], return_hydra_config=True)


def flat(config: Any) -> dict[str, Any]:
    """Leaf key → value as written: interpolations stay, so that a change counts where it was made."""
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
    """Keys that were set anew, changed, or removed."""
    absent = object()
    keys = before.keys() | after.keys()
    return {
        key: after.get(key)
        for key in sorted(keys)
        if before.get(key, absent) != after.get(key, absent)
    }


def _stranger(key: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """A value put where the recipe has neither the key nor an object that could take it."""
    holder = key.rpartition(".")[0]
    return (
        bool(holder)
        and key not in before
        and f"{holder}._target_" not in after
        and not any(k.startswith(f"{holder}.") or k == holder for k in before)
    )
