"""The weights as the checkpoint has them, under the paper's names; the header says of what network."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from deeper.config.instantiate import resolved
from deeper.export.graph import Subject
from deeper.models.deployed import Deployed

FILE = "model.safetensors"
PACKAGES = ("safetensors",)


def encoded(subject: Subject) -> bytes:
    from safetensors.torch import save

    # Copies: the format wants rows one after the other, and no tensor under two names.
    state = {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in subject.trained.net.state_dict().items()
    }
    texts = {
        "format": "pt",
        "weights": subject.trained.weights,
        "classes": json.dumps(subject.trained.classes),
        "model": json.dumps(_model(subject.trained.config)),
        "preprocessing": json.dumps(subject.about, ensure_ascii=False),
    }
    return bytes(save(state, metadata=texts))


def _model(config: DictConfig) -> dict[str, Any]:
    """The network's config. Of the rest, paths and accounts are nobody's business."""
    return {key: value for key, value in resolved(config.model).items() if key != "pretrained"}


def opened(path: Path, subject: Subject) -> nn.Module:
    """The trained network with the file's weights. Raises `ValueError` unless they are the same bits."""
    from safetensors.torch import load_file

    loaded, state = load_file(path), subject.trained.net.state_dict()
    differ = {*loaded} ^ {*state} or {k for k, v in state.items() if not same_bits(v, loaded[k])}
    if differ:
        raise ValueError(f"{FILE}: differs from the checkpoint in {min(differ)}")
    net = copy.deepcopy(subject.trained.net)
    net.load_state_dict(loaded)
    return Deployed(subject.trained.preprocess, net).eval()


def same_bits(a: Tensor, b: Tensor) -> bool:
    """As `torch.equal`, but NaN is itself and 0 is not −0."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    raw_a, raw_b = (x.contiguous().reshape(-1).view(torch.uint8) for x in (a, b))
    return torch.equal(raw_a, raw_b)
