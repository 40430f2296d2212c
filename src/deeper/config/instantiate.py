"""From a config to plain values, and to the objects that its nodes describe."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from deeper.config import trusted
from deeper.config.errors import require_none


def build(node: Any, **arguments: Any) -> Any:
    """The object that a config node describes. Raises `ConfigError` for an untrusted `_target_`."""
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    require_none(trusted.untrusted_targets(plain, by_place=False))
    twice = verbatim(verbatim(plain))  # Hydra resolves what it is given, and then the result
    return instantiate(twice, _convert_="all", **arguments)


def without_hydra_check(function: Any) -> Any:
    """A partial as Hydra built it, and those among its arguments, but without Hydra's check at each call.

    That check of the target takes a tenth of a millisecond: much for what is called in every step.
    """
    if not isinstance(function, partial):
        return function
    keywords = {name: without_hydra_check(value) for name, value in function.keywords.items()}
    return partial(function.func, *map(without_hydra_check, function.args), **keywords)


def verbatim(node: Any, only: Callable[[str], bool] = lambda text: True) -> Any:
    """Plain values whose strings OmegaConf does not interpolate: all of them, or `only` some."""
    if isinstance(node, Mapping):
        return {key: verbatim(value, only) for key, value in node.items()}
    if isinstance(node, list):
        return [verbatim(value, only) for value in node]
    is_meant = isinstance(node, str) and only(node)
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", node) if is_meant else node


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The config as dict, list, str and numbers, as a checkpoint stores it."""
    plain = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    assert isinstance(plain, dict)  # noqa: S101
    return {str(key): value for key, value in plain.items()}
