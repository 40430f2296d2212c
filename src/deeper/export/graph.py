"""The graph that is exported: preprocessing, then the network with its batch norms folded."""

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.utils.fusion import fuse_conv_bn_eval

from deeper.export.metadata import describe
from deeper.export.parity import noise
from deeper.inference.model import Trained
from deeper.models.deployed import Deployed
from deeper.models.googlenet import GoogLeNet
from deeper.models.inception import ConvNormAct


@dataclass
class Graph:
    """A trained network in the forms that exporters need, each made once."""

    trained: Trained

    @cached_property
    def metadata(self) -> dict[str, Any]:
        return describe(self.trained)

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


def folded(net: nn.Module) -> nn.Module:
    """A copy of `net` in evaluation mode, without the batch norms of its `ConvNormAct` blocks.

    Batch norms of other networks, such as timm's, stay as they are.
    """
    net = copy.deepcopy(net).eval()
    for block in net.modules():
        if isinstance(block, ConvNormAct) and type(block.norm) is nn.BatchNorm2d:
            block.conv = fuse_conv_bn_eval(block.conv, block.norm)
            block.norm = nn.Identity()
    return net
