"""Batch norms folded into the convolutions before them, for inference."""

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from deeper.models.inception import ConvNormAct


def folded(net: nn.Module) -> nn.Module:
    """A copy of `net` in evaluation mode, without the batch norms of its `ConvNormAct` blocks.

    Batch norms of other networks, such as timm's, stay as they are.
    """
    net = copy.deepcopy(net).eval()
    for block in net.modules():
        if isinstance(block, ConvNormAct) and isinstance(block.norm, nn.BatchNorm2d):
            block.conv = fuse_conv_bn_eval(block.conv, block.norm)
            block.norm = nn.Identity()
    return net
