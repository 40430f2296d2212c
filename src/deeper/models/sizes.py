"""Networks on images of other sizes: smaller ones early in training, larger ones in evaluation."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from deeper.models.geometry import eval_size, training_sizes
from deeper.models.googlenet import GoogLeNet


def accept_sizes(net: nn.Module, data: Mapping[str, Any]) -> None:
    """Let `net` take images of all sizes that the config group `data` asks for.

    Raises `ValueError` where it cannot, as with a fully connected head.
    """
    image_size = data["image_size"]
    larger = eval_size(image_size, data.get("eval_scale", 1.0))
    smaller = training_sizes(image_size, data.get("initial_scale", 1.0))
    if isinstance(net, GoogLeNet):
        net.training_sizes, net.eval_sizes = tuple(smaller), (image_size, larger)
    for key, training, size in (
        ("eval_scale", False, larger),
        ("initial_scale", True, smaller[0]),
    ):
        if size != image_size and not _takes(net, size, training) and _takes(net, image_size):
            raise ValueError(
                f"data.{key}={data[key]}: the network takes images of {image_size} px, but not of "
                f"{size} px in {'training' if training else 'evaluation'}; pass data.{key}=1, or "
                f"model/head=avgpool{' with model/aux=adaptive or none' if training else ''}"
            )


def _takes(net: nn.Module, size: int, training: bool = False) -> bool:
    """Whether a copy without values takes images of that size; never where the meta device does not suit it."""
    meta = copy.deepcopy(net).to("meta").train(training)
    try:
        with torch.no_grad():
            meta(torch.empty(2, 3, size, size, device="meta"))
    except Exception:  # of any network of the user's
        return False
    return True
