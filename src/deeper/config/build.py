"""From a config to plain values, and to the objects that its nodes describe."""

from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from deeper.config import targets
from deeper.config.refusals import ConfigError


def build(node: Any, **arguments: Any) -> Any:
    """The object that a config node describes; its `_target_`s must be trusted."""
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if lines := targets.refused(plain):
        raise ConfigError(lines)
    return instantiate(plain, _convert_="all", **arguments)


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Plain dict, list, str, numbers: what a checkpoint carries."""
    plain = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    if not isinstance(plain, dict):
        raise TypeError("the root of a config is a mapping")
    return {str(key): value for key, value in plain.items()}
