"""Weights as the checkpoint has them, in the safetensors format; its header describes the network."""

import copy
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from deeper.config.instantiate import resolved
from deeper.export.graph import Graph
from deeper.models.deployed import Deployed

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

    loaded, state = load_file(path), graph.trained.net.state_dict()
    different = {*loaded} ^ {*state} or {
        name for name, value in state.items() if not same_bits(value, loaded[name])
    }
    if different:
        raise ValueError(f"{FILE}: differs from the checkpoint in {min(different)}")
    net = copy.deepcopy(graph.trained.net)
    net.load_state_dict(loaded)
    return Deployed(graph.trained.preprocess, net).eval()


def same_bits(a: Tensor, b: Tensor) -> bool:
    """As `torch.equal`, but NaN equals itself and 0 differs from −0."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    raw_a, raw_b = (x.contiguous().reshape(-1).view(torch.uint8) for x in (a, b))
    return torch.equal(raw_a, raw_b)
