"""Which classes and functions a `_target_` may name.

Trusted are this project's own classes and, in each group, classes of the kind that the group wants
from the packages of `FIELD`; besides these, what `trusted.yaml` beside your config files names:

    packages: [my_networks]              every class and function that the package defines
    targets: [some_package.resnet]       single names
"""

import functools
import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra

FIELD = ("torch", "torchvision", "torchmetrics", "lightning", "timm")

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

ROOMS = ("augment", "callbacks", "data", "evaluation", "loggers", "models", "training")
"""Folders of this project whose classes a config may name."""

FUNCTIONS = ("models.timm", "loggers.wandb", "training.optimizers", "training.schedules")
"""Modules of this project whose functions a config may name."""


def refused(config: Any, by_place: bool = True) -> list[str]:
    """A line for every `_target_` in a plain container that is not trusted or cannot be imported.

    Without `by_place`, for a container whose keys are not those of a root config, any kind will do.
    """
    lines = []
    for key, node in nodes(config):
        target, places = str(node["_target_"]), _place(key) if by_place else [*KINDS]
        try:
            trusted = is_trusted(target, places)
        except (ImportError, AttributeError, ValueError) as error:
            lines.append(f"{key or 'config'}._target_: cannot import {target!r} ({error})")
            continue
        if not trusted:
            lines.append(
                f"{key or 'config'}: _target_ {target!r} is not trusted{_wanted(key)}; if you know what "
                f"it does, add it to `targets:` (or its package to `packages:`) in {_own_file()}"
            )
    return lines


def is_trusted(target: str, places: Sequence[str]) -> bool:
    """`places` are keys of `KINDS`. Raises what the import of the target raises."""
    packages, targets = _vouched()
    root = target.partition(".")[0]
    if target not in targets and root not in {*packages, *FIELD, "deeper"}:
        return False  # importing it would run its code
    found = pkgutil.resolve_name(target)
    defined_in = str(getattr(found, "__module__", ""))
    if target in targets:
        return True
    if defined_in.partition(".")[0] != root:
        return False  # deeper.x.os.system: reached by way of an import
    if root in packages:
        return True
    if root == "deeper":
        modules = ROOMS if inspect.isclass(found) else FUNCTIONS
        whole_name = f"{defined_in}.{getattr(found, '__qualname__', '')}" == target
        return whole_name and f"{defined_in}.".startswith(tuple(f"deeper.{m}." for m in modules))
    kinds = tuple(pkgutil.resolve_name(KINDS[place]) for place in places)
    return inspect.isclass(found) and issubclass(found, kinds)


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


def _place(key: str) -> list[str]:
    """The most specific key of `KINDS` at or above a config key, as a list of at most one."""
    above = [place for place in KINDS if f"{key}.".startswith(f"{place}.")]
    return [max(above, key=len)] if above else []


def _wanted(key: str) -> str:
    kinds = [KINDS[place].rpartition(".")[2] for place in _place(key)]
    return f" (here a class of kind {kinds[0]} from {', '.join(FIELD)} is)" if kinds else ""


def _vouched() -> tuple[frozenset[str], frozenset[str]]:
    """Packages and names of every trusted.yaml."""
    return _read(tuple(folder / "trusted.yaml" for folder in _config_folders()))


@functools.cache
def _read(files: tuple[Path, ...]) -> tuple[frozenset[str], frozenset[str]]:
    found = [yaml.safe_load(file.read_text()) or {} for file in files if file.is_file()]
    packages, targets = (
        frozenset(name for content in found for name in content.get(key) or [])
        for key in ("packages", "targets")
    )
    return packages, targets


def _own_file() -> str:
    """The trusted.yaml to edit: that of --config-dir where one is given."""
    folders = _config_folders()
    return str(folders[-1] / "trusted.yaml") if len(folders) > 1 else "configs/trusted.yaml"


def _config_folders() -> list[Path]:
    """Every folder on Hydra's search path: the repository's, then what --config-dir added."""
    if not GlobalHydra.instance().is_initialized():
        return [Path(__file__).resolve().parents[3] / "configs"]
    entries = GlobalHydra.instance().config_loader().get_search_path().get_path()
    paths = [e.path for e in entries if not e.path.startswith(("pkg://", "structured://"))]
    return [Path(path.removeprefix("file://")) for path in paths]
