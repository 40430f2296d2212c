"""Weights as the checkpoint has them, in the safetensors format; its header describes the network."""

import copy
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from deeper.config.instantiate import resolved
from deeper.export.graph import Graph

FILE = "model.safetensors"
PACKAGES = ("safetensors",)


def encode(graph: Graph) -> bytes:
    from safetensors.torch import save

    trained = graph.trained
    # Copies: the format needs contiguous tensors, and no tensor under two names.
    state = {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in trained.net.state_dict().items()
    }
    # The network's config alone: the rest contains paths and accounts.
    model = {k: v for k, v in resolved(trained.config.model).items() if k != "pretrained"}
    header = {
        "format": "pt",
        "weights": trained.weights,
        "classes": json.dumps(trained.classes),
        "model": json.dumps(model),
        "preprocessing": json.dumps(graph.metadata, ensure_ascii=False),
    }
    return bytes(save(state, metadata=header))


def open_file(path: Path, graph: Graph) -> nn.Module:
    """The network with the file's weights. Raises `ValueError` unless they are equal bit by bit."""
    from safetensors.torch import load_file

    trained = copy.deepcopy(graph.trained)
    trained.net.load_state_dict(load_file(path))
    loaded = trained.net.state_dict()
    for name, value in graph.trained.net.state_dict().items():
        if not torch.equal(_bits(value), _bits(loaded[name])):
            raise ValueError(f"{FILE}: differs from the checkpoint in {name}")
    return trained


def _bits(value: Tensor) -> Tensor:
    """Its bytes, in which NaN equals itself and 0 differs from −0."""
    return value.contiguous().flatten().view(torch.uint8)
