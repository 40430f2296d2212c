"""From a config to plain values, and to the objects that its nodes describe."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from deeper.cli.arguments import escaped
from deeper.config import trusted as targets
from deeper.config.errors import ConfigError


def build(node: Any, **arguments: Any) -> Any:
    """The object that a config node describes; its `_target_`s must be trusted."""
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if lines := targets.refused(plain):
        raise ConfigError(lines)
    twice = verbatim(verbatim(plain))  # Hydra resolves what it is given, and again what came of it
    return instantiate(twice, _convert_="all", **arguments)


def verbatim(node: Any) -> Any:
    """Plain values whose strings OmegaConf takes as they are: `${` in a path is no interpolation."""
    if isinstance(node, Mapping):
        return {key: verbatim(value) for key, value in node.items()}
    if isinstance(node, list):
        return [verbatim(value) for value in node]
    return escaped(node) if isinstance(node, str) else node


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Plain dict, list, str, numbers: what a checkpoint carries."""
    plain = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    if not isinstance(plain, dict):
        raise TypeError("the root of a config is a mapping")
    return {str(key): value for key, value in plain.items()}
