"""The config that a checkpoint holds, checked against the code of today."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from deeper.checkpoint import load_checkpoint
from deeper.config import signatures
from deeper.config.errors import ConfigError, require_none
from deeper.config.instantiate import verbatim

NEEDED = ("model", "preprocess", "protocol", "data.image_size", "data.root", "data.source")


def load_with_config(path: Path) -> dict[str, Any]:
    """A checkpoint whose config is trusted and can be built; else `ConfigError`."""
    state = load_checkpoint(path)
    config = state["deeper"].get("config")
    stored = as_config(config) if isinstance(config, dict) else DictConfig({})
    missing = [key for key in NEEDED if OmegaConf.select(stored, key) is None]
    try:
        require_none(
            f"{key}: missing in the config of the checkpoint; evaluate it with the version that wrote "
            f"it, or train anew"
            for key in missing
        )
        signatures.require_buildable({k: config[k] for k in ("model", "preprocess", "protocol")})
    except ConfigError as error:
        raise ConfigError(f"{path}: {line}" for line in error.problems) from error
    return state


def as_config(plain: dict[str, Any]) -> DictConfig:
    """A config of resolved values, in which `${` is no interpolation."""
    made = OmegaConf.create(verbatim(plain))
    assert isinstance(made, DictConfig)  # noqa: S101
    return made
