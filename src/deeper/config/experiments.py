"""An experiment changes exactly one thing of the recipe it is put on. Here that is enforced."""

from collections.abc import Sequence
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from omegaconf import OmegaConf

from deeper.config import choices

BOOKKEEPING = {"name", "requires", "hydra"}


def problems(overrides: Sequence[str]) -> list[str]:
    """Experiments that can't apply here, that change nothing, or that undo one another."""
    names = [name for name in choices.experiments(overrides) if name != "baseline"]
    if not names:
        return []
    rest = choices.without(["experiment", "debug", "resume"], overrides)
    base = flat(composed(rest))
    changes: dict[str, dict[str, Any]] = {}
    lines = []
    for name in names:
        if reason := inapplicable(name, rest):
            lines.append(reason)
            continue
        after = flat(composed([*rest, f"experiment={name}"]))
        changes[name] = difference(base, after)
        if strange := [key for key in changes[name] if _stranger(key, base, after)]:
            lines.append(_not_there(name, strange[0].rpartition(".")[0], rest))
        elif not changes[name]:
            lines.append(f"experiment={name} changes nothing of {_recipe(rest)}" + _elsewhere(name))
    for i, name in enumerate(changes):
        for other in list(changes)[i + 1 :]:
            if both := sorted(set(changes[name]) & set(changes[other])):
                lines.append(f"experiments {name} and {other} both set {both[0]}: choose one")
    return lines


def inapplicable(name: str, rest: Sequence[str]) -> str | None:
    """Why this experiment asks nothing of this recipe, by its own `requires`; None if it does."""
    try:
        requires = composed([*rest, f"experiment={name}"]).requires
    except HydraException as error:
        return missing_part(name, str(error), rest)
    base = composed([*rest], hydra=True)
    for group, options in requires.items():
        option = base.hydra.runtime.choices.get(group)
        if option not in options:
            return (
                f"experiment={name} needs {group}={'|'.join(options)}, but {_recipe(rest)} has "
                f"{group}={option}" + _elsewhere(name)
            )
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
            base = composed(alone, hydra=True)
            after = composed([*alone, f"experiment={name}"])
        except HydraException:
            continue
        chosen = base.hydra.runtime.choices
        fits = all(chosen.get(group) in wanted for group, wanted in after.requires.items())
        if fits and difference(flat(base), flat(after)):
            works.append(recipe)
    return f"; it applies to recipe={'|'.join(works)}" if works else ""


def _recipe(overrides: Sequence[str]) -> str:
    return f"recipe={choices.recipe(overrides)}"


def options(group: str) -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return loader.get_group_options(group, ObjectType.CONFIG)


def composed(overrides: Sequence[str], hydra: bool = False) -> Any:
    """train.yaml, or what --config-name says in its place."""
    name = HydraConfig.get().job.config_name if HydraConfig.initialized() else "train"
    return compose(name, [*overrides], return_hydra_config=hydra)


def flat(config: Any) -> dict[str, Any]:
    """Leaf key → value as written: interpolations stay, so that a change counts where it was made."""
    plain = OmegaConf.to_container(config, resolve=False)
    leaves: dict[str, Any] = {}

    def walk(node: Any, key: str) -> None:
        if isinstance(node, dict) and node:
            for name, child in node.items():
                if key or name not in BOOKKEEPING:
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
