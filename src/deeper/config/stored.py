"""The config that a checkpoint holds, checked against the code of today."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from deeper.checkpoint import load_checkpoint
from deeper.config import signatures, trusted
from deeper.config.errors import ConfigError
from deeper.config.instantiate import verbatim

NEEDED = ("model", "preprocess", "protocol", "data.image_size", "data.root", "data.source")
ADVICE = "evaluate it with the version that wrote it, or train anew"


def load_with_config(path: Path) -> dict[str, Any]:
    """A checkpoint whose config is trusted and can be built; else `ConfigError`."""
    state = load_checkpoint(path)
    config = state["deeper"].get("config")
    stored = as_config(config) if isinstance(config, dict) else DictConfig({})
    missing = [key for key in NEEDED if OmegaConf.select(stored, key) is None]
    problems = [f"{key}: missing in the config of the checkpoint; {ADVICE}" for key in missing]
    if not problems:
        network = {key: config[key] for key in ("model", "preprocess", "protocol")}
        problems = [*_gone(network)] or trusted.refused(network) or signatures.problems(network)
    if problems:
        raise ConfigError([f"{path}: {line}" for line in problems])
    return state


def _gone(network: dict[str, Any]) -> Iterator[str]:
    """A line for each class of this package that the config names and this version lacks."""
    for key, node in trusted.nodes(network):
        target = str(node["_target_"])
        if target.startswith("deeper."):
            try:
                get_object(target)
            except (ImportError, AttributeError):
                yield f"{key}: this version has no {target}; {ADVICE}"


def as_config(plain: dict[str, Any]) -> DictConfig:
    """A config of resolved values, in which `${` is no interpolation."""
    made = OmegaConf.create(verbatim(plain))
    assert isinstance(made, DictConfig)  # noqa: S101
    return made


def eval_crop(data: Mapping[Any, Any]) -> float:
    """Fraction of the shorter side that the centre crop keeps; a data set of one's own may omit it."""
    return float(data.get("eval_crop", 0.875))
