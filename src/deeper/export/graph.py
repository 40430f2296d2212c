"""The graph that is exported: preprocessing, then the network with its batch norms folded."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from deeper.export.fold import folded
from deeper.export.parity import noise
from deeper.inference.model import Trained
from deeper.models.deployed import Deployed
from deeper.models.googlenet import GoogLeNet


@dataclass
class Graph:
    """A trained network in the forms that exporters need, each made once."""

    trained: Trained
    metadata: dict[str, Any]
    """As `metadata.describe(trained)`."""

    @cached_property
    def example(self) -> Tensor:
        """uint8 [2, 3, S, S]; torch.export would take a batch of 1 for a constant."""
        return noise(2, self.trained.image_size)

    @cached_property
    def folded(self) -> Deployed:
        """Batch norms folded and auxiliary heads removed (§5)."""
        net = folded(self.trained.net)
        if isinstance(net, GoogLeNet):
            net.aux = nn.ModuleDict()
        # torch.export's archive warns of tensors in channels_last.
        net = net.to(memory_format=torch.contiguous_format)
        return Deployed(self.trained.preprocess, net).eval()

    @cached_property
    def program(self) -> ExportedProgram:
        """Traced for any batch size, at the network's image size."""
        with torch.no_grad():
            program = torch.export.export(
                self.folded, (self.example,), dynamic_shapes=({0: Dim("batch", min=1)},)
            )
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # contains paths of this machine
        return program
