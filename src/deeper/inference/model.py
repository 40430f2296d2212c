"""A trained network out of its checkpoint, with all that its answers mean."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from PIL.Image import Image
from torch import Tensor, nn

from deeper import checkpoint
from deeper.config import stored as carried
from deeper.config.instantiate import build
from deeper.data.dataset import Pipeline
from deeper.data.images.encoded import Encoded
from deeper.models.deployed import Deployed
from deeper.runs import build as assemble
from deeper.runs import select as networks


@dataclass(frozen=True)
class Trained:
    """Made by `load`; the network is in evaluation mode and on the CPU."""

    path: Path
    """Of the checkpoint."""
    config: DictConfig
    """Of its training, resolved."""
    classes: list[str]
    """Labels are places in it."""
    weights: str
    """Those that the network has: averaged or live."""
    net: nn.Module
    preprocess: nn.Module
    """uint8 RGB [B, 3, S, S] → what the network takes."""
    view: Pipeline
    """A picture (PIL RGB, or `Encoded`) → uint8 [3, S, S], as the training's protocol had it."""

    @property
    def image_size(self) -> int:
        """S, in pixels."""
        return int(self.config.data.image_size)

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] → logits [B, classes]."""
        logits: Tensor = Deployed(self.preprocess, self.net)(images)
        return logits

    @torch.inference_mode()
    def probabilities(self, pictures: Iterable[Image | Encoded]) -> Tensor:
        """float32 [B, classes] of pictures of any size."""
        return self(torch.stack([self.view(picture) for picture in pictures])).float().softmax(1)


def load(path: str | Path, weights: str = "averaged") -> Trained:
    """Of a run directory its best checkpoint, or of a checkpoint file.

    `weights` is averaged (live where the training kept no average) or live. Raises `ValueError` for
    what is no checkpoint, and `ConfigError` where its config names code that is not trusted.
    """
    path = networks.named(path)
    return of(carried.load_with_config(path), path, weights)


def of(state: dict[str, Any], path: Path, weights: str = "averaged") -> Trained:
    """The same of a checkpoint that `load_with_config` read; `path` is where it came from."""
    config = carried.as_config(state["deeper"]["config"] | {"compile": False})
    classes = state["deeper"]["classes"]
    net = assemble.network(config, classes)
    net.load_state_dict(checkpoint.network_state(state, weights))
    preprocess = build(config.preprocess)
    preprocess.load_state_dict(checkpoint.preprocess_state(state))
    view = build(config.protocol)(config.data.image_size, carried.eval_crop(config.data))
    return Trained(
        path,
        config,
        classes,
        weights if "averaged_state_dict" in state else "live",
        net.eval(),
        preprocess.eval(),
        Pipeline({"protocol": view}, config.data.image_size),
    )
