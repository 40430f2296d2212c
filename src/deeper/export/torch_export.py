"""torch.export's archive (.pt2), which `torch.export.load(file).module()` runs without this project."""

import io
from pathlib import Path

import torch
from torch import nn

from deeper.export.graph import Graph

FILE = "model.pt2"
PACKAGES: tuple[str, ...] = ()


def encode(graph: Graph) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(graph.program, buffer)
    return buffer.getvalue()


def open_file(path: Path, graph: Graph) -> nn.Module:
    with path.open("rb") as file:
        return torch.export.load(file).module()
