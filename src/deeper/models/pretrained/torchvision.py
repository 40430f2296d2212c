"""The state dict of torchvision.models.googlenet, published or of a training of yours."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from deeper.models.pretrained import names, nets
from deeper.models.pretrained.layers import layers
from deeper.models.pretrained.weights import Weights

WORDS = "model=googlenet_torchvision preprocess=symmetric"


def is_one(state: Mapping[str, Any]) -> bool:
    return "inception3a.branch1.conv.weight" in state


def read(state: Mapping[str, Tensor], origin: str) -> Weights:
    """A kernel of the "5×5" branch is 3×3 in it, so no faithful net takes it. Raises `ValueError`."""
    if odd := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{odd[0]} is no tensor")
    renamed = dict(_renamed(name, value) for name, value in state.items())
    for name in [name for name in renamed if name.endswith(".norm.running_mean")]:
        # Files of torch 0.4 and before have no counter, which the running averages can do without.
        counter = name.replace("running_mean", "num_batches_tracked")
        renamed.setdefault(counter, torch.tensor(0))
    with torch.device("meta"):
        made_for = layers(nets.torchvision(aux=any(name.startswith("aux.") for name in renamed)))
    return Weights(origin, renamed, made_for, f"{WORDS} model.pretrained={origin}")


def _renamed(name: str, value: Tensor) -> tuple[str, Tensor]:
    module, _, leaf = name.rpartition(".")
    return (f"{names.TORCHVISION[module]}.{leaf}" if module in names.TORCHVISION else name), value
