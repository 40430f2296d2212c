"""Which classes and functions a `_target_` may name.

Trusted are this project's own classes and, in each group, classes of the kind that the group wants
from the packages of `FIELD`; besides these, what you vouch for: packages (every class and function
that they define) and single names, in configs/trusted.yaml or by `trust=[my_networks]` on the command
line. Configs that come from elsewhere vouch for nothing: those of --config-dir, a run, a checkpoint.
"""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from deeper.config.groups import CONFIG_FOLDER
from deeper.config.overrides import chosen_options

FIELD = (
    "torch", "torchvision", "torchmetrics", "lightning", "timm", "hydra", "hydra_plugins", "logging",
)  # fmt: skip

KINDS = {
    "augment": "torch.nn.Module",
    "averaging": "lightning.pytorch.Callback",
    "callbacks": "lightning.pytorch.Callback",
    "logger": "lightning.pytorch.loggers.Logger",
    "loss": "torch.nn.Module",
    "metrics": "torchmetrics.Metric",
    "mix": "torch.nn.Module",
    "model": "torch.nn.Module",
    "optimizer": "torch.optim.Optimizer",
    "preprocess": "torch.nn.Module",
    "trainer": "lightning.pytorch.Trainer",
    "trainer.profiler": "lightning.pytorch.profilers.Profiler",
    "trainer.strategy": "lightning.pytorch.strategies.Strategy",
}
"""Config key → base class of what may stand at or below it."""

HYDRA_KINDS = {
    "hydra.callbacks": "hydra.experimental.callback.Callback",
    "hydra.hydra_logging.handlers": "logging.StreamHandler",
    "hydra.job_logging.handlers": "logging.StreamHandler",
    "hydra.launcher": "hydra.plugins.launcher.Launcher",
    "hydra.sweeper": "hydra.plugins.sweeper.Sweeper",
}
"""The same, of what Hydra builds."""

ROOMS = ("augment", "callbacks", "data", "evaluation", "loggers", "models", "training")
"""Folders of this project whose classes a config may name."""

FUNCTIONS = ("models.timm", "training.optimizers", "training.schedules")
"""Modules of this project whose functions a config may name."""


def untrusted_targets(config: Any, by_place: bool = True) -> Iterator[str]:
    """A line for every `_target_` in a plain container that is not trusted or cannot be imported.

    Without `by_place`, for a container whose keys are not those of a root config, any kind will do.
    """
    for key, node in nodes(config):
        target, where = str(node["_target_"]), key or "config"
        kinds = _kinds(key)
        try:
            if is_trusted(target, kinds if by_place else [*KINDS.values()]):
                continue
        except (ImportError, AttributeError, ValueError) as error:
            yield f"{where}._target_: cannot import {target!r} ({_cause(target) or error})"
            continue
        wanted = f" (here a {kinds[0]} of a known library is)" if kinds else ""
        root = target.partition(".")[0]
        name = target if root in {*FIELD, *sys.stdlib_module_names} else root
        yield (
            f"{where}: _target_ {target!r} is not trusted{wanted}; if you know what it does, pass "
            f"trust=[{name}] on the command line, or add it to configs/trusted.yaml"
        )


def is_trusted(target: str, kinds: Sequence[str]) -> bool:
    """`kinds` are names of base classes. Raises what the import of the target raises."""
    root, own = target.partition(".")[0], vouched()
    if not {target, root} & {*own, *FIELD, "deeper"}:
        return False  # importing it would run its code
    found = pkgutil.resolve_name(target)
    module = str(getattr(found, "__module__", ""))
    if target in own:
        return True
    if module.partition(".")[0] != root:
        return False  # deeper.x.os.system: reached by way of an import
    if root == "deeper":
        rooms = ROOMS if inspect.isclass(found) else FUNCTIONS
        return f"{module}.".startswith(tuple(f"deeper.{room}." for room in rooms))
    if root in own or (root == "torchvision" and target in _torchvision_networks(kinds)):
        return True
    bases = tuple(pkgutil.resolve_name(kind) for kind in kinds)
    return inspect.isclass(found) and issubclass(found, bases)


def _cause(target: str) -> ImportError | None:
    """Why the module of a target cannot be imported, which `pkgutil.resolve_name` hides."""
    try:
        importlib.import_module(target.rpartition(".")[0] or target)
    except ImportError as error:
        return error
    return None


def _torchvision_networks(kinds: Sequence[str]) -> set[str]:
    """torchvision.models.resnet18 and all others, which are functions, where a network may stand."""
    from torchvision import models

    fits = KINDS["model"] in kinds
    return {f"torchvision.models.{name}" for name in models.list_models(models)} if fits else set()


def nodes(config: Any, key: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping with a `_target_` in a plain container, outer ones first, with its key."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield key, config
        for name, child in config.items():
            yield from nodes(child, f"{key}.{name}" if key else str(name))
    elif isinstance(config, list):
        for place, child in enumerate(config):
            yield from nodes(child, f"{key}[{place}]")


def _kinds(key: str) -> list[str]:
    """The kind of the most specific place at or above a config key, as a list of at most one."""
    known = KINDS | HYDRA_KINDS
    places = [place for place in known if f"{key}.".startswith(f"{place}.")]
    return [known[max(places, key=len)]] if places else []


def vouched() -> set[str]:
    """Packages and single names in our trusted.yaml and in `trust` on the command line.

    Not in the config, whose files and stored copies may come from elsewhere.
    """
    file = CONFIG_FOLDER / "trusted.yaml"  # an installed wheel has none
    lists = yaml.safe_load(file.read_text()) if file.exists() else None
    listed = [name for names in (lists or {}).values() for name in names or []]
    return {*listed, *chosen_options("trust", sys.argv[1:])}
