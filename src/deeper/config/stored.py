"""The config that a checkpoint carries, as today's code reads it: keys that came later have their defaults."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from deeper import checkpoint
from deeper.config import signatures
from deeper.config import trusted as targets
from deeper.config.errors import ConfigError
from deeper.config.instantiate import verbatim
from deeper.config.schema import Train
from deeper.data.datamodule import ImageData

NEEDED = ("model", "preprocess", "data.image_size", "data.root", "data.source")
SINGLE = {"_target_": "deeper.evaluation.protocol.Single", "_partial_": True}


def load(path: Path) -> dict[str, Any]:
    """A checkpoint whose config is complete. `ValueError` where it can't be made so."""
    state = checkpoint.load(path)
    state["deeper"] = state["deeper"] | {"config": completed(state["deeper"].get("config"), path)}
    return state


def completed(config: Any, path: Path) -> dict[str, Any]:
    """Raises `ConfigError` for what has no default, is not trusted, or today's code does not know."""
    stored = OmegaConf.create(verbatim(config)) if isinstance(config, dict) else OmegaConf.create()
    problems = [
        f"{key}: the config in the checkpoint has no such key, written by another version; train anew"
        for key in NEEDED
        if OmegaConf.select(stored, key) is None
    ]
    if not problems:
        config = _defaults(config) | config
        if config["data"].get("_target_") == f"{ImageData.__module__}.{ImageData.__name__}":
            config["data"] = _keyword_defaults(ImageData) | config["data"]
        network = {key: config[key] for key in ("model", "preprocess", "protocol")}
        problems = targets.refused(network) or signatures.problems(network)
    if problems:
        raise ConfigError([f"{path}: {line}" for line in problems])
    return dict(config)


def eval_crop(data: Mapping[Any, Any]) -> float:
    """The share of the shorter side that an evaluation sees; a data set from outside may not say."""
    return float(data.get("eval_crop", _keyword_defaults(ImageData)["eval_crop"]))


def as_config(plain: dict[str, Any]) -> DictConfig:
    """Of resolved values: nothing in them is resolved again."""
    made = OmegaConf.create(verbatim(plain))
    assert isinstance(made, DictConfig)  # noqa: S101
    return made


def _defaults(config: dict[str, Any]) -> dict[str, Any]:
    seed = config.get("seed", Train.seed)
    plain = {name: getattr(Train, name) for name in ("compile", "channels_last")}
    return plain | {"seed": seed, "init_seed": seed, "data_seed": seed, "protocol": SINGLE}


def _keyword_defaults(function: Any) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.items()
    return {name: p.default for name, p in parameters if p.default is not p.empty}
