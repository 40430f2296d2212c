"""What is exported: one graph from the pixels of a picture to class scores."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from deeper.export.fold import folded
from deeper.inference.model import Trained
from deeper.models.deployed import Deployed
from deeper.models.googlenet import GoogLeNet


@dataclass
class Subject:
    """A trained network with its forms, each made once."""

    trained: Trained
    about: dict[str, Any]
    """What the files say of themselves (see `description`)."""

    @cached_property
    def example(self) -> Tensor:
        """uint8 [2, 3, S, S]: a batch of 1 would be taken for a constant."""
        size = self.trained.image_size
        noise = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=noise)

    @cached_property
    def folded(self) -> Deployed:
        """Without batch norms where a convolution takes them in, and without auxiliary heads (§5)."""
        preprocess = self.trained.preprocess
        net = folded(self.trained.net, preprocess(self.example))
        if isinstance(net, GoogLeNet):
            net.aux = nn.ModuleDict()
        # Of torch.export's archive a tensor in any other layout is a part, of which it warns.
        return Deployed(preprocess, net.to(memory_format=torch.contiguous_format)).eval()

    @cached_property
    def program(self) -> ExportedProgram:
        """Of any batch size, at the size of images that the network was trained for."""
        with torch.no_grad():
            program = torch.export.export(
                self.folded, (self.example,), dynamic_shapes=({0: Dim("batch", min=1)},)
            )
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # the paths of this machine
        return program
