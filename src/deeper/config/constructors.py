"""What constructors refuse, found by building each part of a config on the meta device."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from deeper.config.errors import user_error
from deeper.config.instantiate import build
from deeper.models.sizes import accept_sizes
from deeper.training.loss import training_loss
from deeper.training.metrics import collection
from deeper.training.optimizers import make_optimizer
from deeper.training.schedules import Progress

OTHERS = {
    "model": ("data",), "loss": ("mix", "model"), "scheduler": ("epochs",), "data": ("augment", "protocol"),
}  # fmt: skip
"""Part → other keys of which it is built."""

_accepted: set[str] = set()
"""Parts that could be built, with all that they are built of: jobs of a multirun have many in common."""


def refused_by_constructors(cfg: DictConfig, ill: set[str]) -> Iterator[str]:
    """A line for each part that cannot be built; parts in `ill` are left out."""
    for part, attempt in _attempts(cfg).items():
        if part in ill or OmegaConf.select(cfg, part) is None:
            continue
        if (content := _content(cfg, part, *OTHERS.get(part, ()))) in _accepted:
            continue
        try:
            with torch.device("meta"):
                attempt()
            _accepted.add(content)
        except Exception as error:
            if reason := user_error(error):  # else a network that the meta device does not suit
                yield reason if reason.startswith(part) else f"{part}: {reason}"


def _content(cfg: DictConfig, *keys: str) -> str:
    """What a part is built of, without seeds, which no constructor refuses."""
    nodes = {}
    for key in keys:
        node = cfg[key]
        nodes[key] = (
            OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        )
    return f"{keys[0]} {json.dumps(_without_seeds(nodes), sort_keys=True, default=str)}"


def _without_seeds(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_seeds(value) for key, value in node.items() if key != "seed"}
    return [*map(_without_seeds, node)] if isinstance(node, list) else node


def _attempts(cfg: DictConfig) -> dict[str, Callable[[], Any]]:
    """Data is only described here: its images are looked for when nothing else is wrong."""
    simple = ("preprocess", "averaging", "augment", "mix", "protocol")
    return {part: lambda part=part: build(cfg[part]) for part in simple} | {
        "model": lambda: accept_sizes(build(cfg.model, num_classes=10), cfg.data),
        "metrics": lambda: collection(build(cfg.metrics), 10),
        # A loss is asked for the weight of each auxiliary head.
        "loss": lambda: [
            *map(training_loss(build(cfg.loss), build(cfg.mix)).weight, cfg.model.get("aux") or {})
        ],
        "optimizer": lambda: make_optimizer(build(cfg.optimizer), nn.Linear(1, 1)),
        "scheduler": lambda: build(cfg.scheduler)(Progress(0, 0, cfg.epochs)),
        "data": lambda: build(
            cfg.data, augment=build(cfg.augment), protocol=build(cfg.protocol), seed=cfg.data_seed
        ),
    }
