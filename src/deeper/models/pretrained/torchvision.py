"""Reads the state dict of torchvision.models.googlenet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deeper.models.pretrained.names import TORCHVISION


def read(path: Path) -> dict[str, Tensor]:
    """Weights of the published file, or of a training by torchvision's own script."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    return renamed(content.get("model", content))


def renamed(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Under our names. Raises `ValueError` for another network's state dict."""
    if "inception3a.branch1.conv.weight" not in state:
        raise ValueError("no state dict of torchvision's googlenet")
    ours = {_our_name(name): value for name, value in state.items()}
    for name in [name for name in ours if name.endswith(".norm.running_mean")]:
        # Files of torch 0.4 and before have no counter, which is used only where momentum is null.
        ours.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    return ours


def _our_name(name: str) -> str:
    module, _, leaf = name.rpartition(".")
    return f"{TORCHVISION.get(module, module)}.{leaf}"
