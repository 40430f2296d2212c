"""What constructors refuse, found by building each part of a config on the meta device."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from deeper.config.errors import user_error
from deeper.config.instantiate import build
from deeper.training.loss import training_loss
from deeper.training.metrics import collection
from deeper.training.optimizers import make_optimizer
from deeper.training.schedules import Progress


def refused_by_constructors(cfg: DictConfig, ill: set[str]) -> Iterator[str]:
    """A line for each part that cannot be built; parts in `ill` are left out."""
    for part, attempt in _attempts(cfg).items():
        if part in ill or OmegaConf.select(cfg, part) is None:
            continue
        try:
            with torch.device("meta"):
                attempt()
        except Exception as error:
            if reason := user_error(error):  # else a network that the meta device does not suit
                yield reason if reason.startswith(part) else f"{part}: {reason}"


def _attempts(cfg: DictConfig) -> dict[str, Callable[[], Any]]:
    """Data is only described here: its images are looked for when nothing else is wrong."""
    simple = ("preprocess", "averaging", "augment", "mix", "protocol")
    return {part: lambda part=part: build(cfg[part]) for part in simple} | {
        "model": lambda: build(cfg.model, num_classes=10),
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
