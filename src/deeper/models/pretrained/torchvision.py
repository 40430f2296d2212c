"""Reads the state dict of torchvision.models.googlenet."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from deeper.models.pretrained import names, nets
from deeper.models.pretrained.layer_settings import layer_settings
from deeper.models.pretrained.weights import Weights

OVERRIDES = "model=googlenet_torchvision preprocess=symmetric"


def read(state: Mapping[str, Any], origin: str) -> Weights:
    """Weights of a published state dict or of a training with torchvision. Raises `ValueError`."""
    if "inception3a.branch1.conv.weight" not in state:
        raise ValueError("no state dict of torchvision's googlenet")
    if wrong := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{wrong[0]} is no tensor")
    renamed = {_our_name(name): value for name, value in state.items()}
    for name in [name for name in renamed if name.endswith(".norm.running_mean")]:
        # Files of torch 0.4 and before have no counter, which is used only where momentum is null.
        counter = name.replace("running_mean", "num_batches_tracked")
        renamed.setdefault(counter, torch.tensor(0))
    with torch.device("meta"):
        net = nets.torchvision_net(aux=any(name.startswith("aux.") for name in renamed))
    overrides = f"{OVERRIDES} model.pretrained={origin}"
    return Weights(origin, renamed, layer_settings(net), overrides, nets.torchvision_preprocess())


def _our_name(name: str) -> str:
    module, _, leaf = name.rpartition(".")
    return f"{names.TORCHVISION.get(module, module)}.{leaf}"
