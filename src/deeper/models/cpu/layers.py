"""Which layers of a network have kernels for a CPU, and what of several layers is computed together."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeper.models.cpu import library
from deeper.models.cpu.batch_norm import BatchNormReLU, BatchNormReLUPool
from deeper.models.cpu.lrn import LRN
from deeper.models.cpu.max_pool import MaxPool, MaxPoolReLU
from deeper.models.cpu.winograd import Conv3x3, convolution
from deeper.models.googlenet import GoogLeNet
from deeper.models.inception import ConvNormAct, Reduced
from deeper.models.lrn import LocalResponseNorm


def use_kernels(net: nn.Module, cache: Path) -> None:
    """Let the layers of `net` that have kernels use them; parameters, buffers and names stay.

    Kernels are compiled into the folder `cache`. Raises `OSError` where that does not succeed.
    """
    library.load(cache)
    for module in [*net.modules()]:
        if type(module) is ConvNormAct and _kinds(module) == (nn.BatchNorm2d, nn.ReLU):
            module.norm.__class__, module.act = BatchNormReLU, nn.Identity()
        elif type(module) is ConvNormAct and _kinds(module) == (nn.Identity, nn.ReLU):
            module.__class__ = ConvReLU
        elif type(module) is nn.Conv2d and Conv3x3.fits(module):
            module.__class__ = Conv3x3
        elif type(module) is nn.MaxPool2d and MaxPool.fits(module):
            module.__class__ = MaxPool
        elif type(module) is LocalResponseNorm:
            module.__class__ = LRN
        elif type(module) is Reduced:
            module.__class__ = MergedReduced
    if type(net) is GoogLeNet:
        _pool_in_stem(net)


def _kinds(block: ConvNormAct) -> tuple[type, type]:
    """Subclasses may do something else."""
    return type(block.norm), type(block.act)


def _pool_in_stem(net: GoogLeNet) -> None:
    """Where a pool follows a convolution's ReLU: one layer with its norm, or the ReLU after the pool.

    The outputs of stages conv1 and conv2 are then pooled, or not yet rectified.
    """
    after = {"pool1": net.conv1}
    if type(net.norm2) is nn.Identity:
        after["pool2"] = net.conv2
    for name, block in after.items():
        pool = getattr(net, name)
        if type(pool) is MaxPool and type(block.norm) is BatchNormReLU:
            block.norm.__class__, block.norm.pool = BatchNormReLUPool, pool
            setattr(net, name, nn.Identity())
        elif type(pool) is MaxPool and type(block) is ConvReLU:
            block.__class__, block.act = ConvNormAct, nn.Identity()  # type: ignore[assignment]
            pool.__class__ = MaxPoolReLU


class ConvReLU(ConvNormAct):
    """Without gradients, as in evaluation, ReLU is a part of the convolution."""

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        usual = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
        if usual or not library.takes(x) or x.dtype != conv.weight.dtype or not _fuses(x.dtype):
            return super().forward(x)
        if isinstance(conv, Conv3x3) and conv.takes(x):
            return convolution(x, conv.weight, conv.bias, relu=True)
        return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
            x, conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups,
            "relu", [], "",
        )  # fmt: skip


def _fuses(dtype: torch.dtype) -> bool:
    """Whether this build and this processor have oneDNN's convolution with ReLU for the type."""
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    return dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


class MergedReduced(Reduced):
    """Its three 1×1 convolutions of the input are one, so that the input is read once.

    In evaluation they stay three.
    """

    def forward(self, x: Tensor) -> Tensor:
        first = (self.conv1x1, self.reduce3x3, self.reduce5x5)
        convs = [block.conv for block in first]
        normalised = all(type(block.norm) is BatchNormReLU for block in first)
        fits = normalised or all(type(block) is ConvReLU for block in first)
        plain = all(type(conv) is nn.Conv2d and not conv._forward_hooks for conv in convs)
        if not (fits and plain and self.training and library.takes(x)):
            return super().forward(x)
        weight = torch.cat([conv.weight for conv in convs])
        bias = None if convs[0].bias is None else torch.cat([conv.bias for conv in convs])  # type: ignore[misc]
        merged = F.conv2d(x, weight, bias)
        if not normalised:
            merged = F.relu_(merged)
        parts = torch.split(merged, [conv.out_channels for conv in convs], dim=1)
        if normalised:
            parts = tuple(block.norm(part) for block, part in zip(first, parts, strict=True))
        conv1x1, reduced3x3, reduced5x5 = parts
        pooled = self.pool_proj(self.pool(x))
        return torch.cat([conv1x1, self.conv3x3(reduced3x3), self.conv5x5(reduced5x5), pooled], 1)
