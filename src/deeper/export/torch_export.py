"""torch.export's archive (.pt2): runs without this project, `torch.export.load(file).module()`."""

import io
from pathlib import Path

import torch
from torch import nn

from deeper.export.graph import Subject

FILE = "model.pt2"
PACKAGES: tuple[str, ...] = ()


def encoded(subject: Subject) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(subject.program, buffer)
    return buffer.getvalue()


def opened(path: Path, subject: Subject) -> nn.Module:
    with path.open("rb") as file:
        return torch.export.load(file).module()
