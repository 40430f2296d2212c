"""The architecture as a table like the paper's Table 1, for any network."""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call


class StageSummary(NamedTuple):
    """A row of the table."""

    stage: str
    kernel: str
    """Size and stride, as in 7×7/2, of a stage with one convolution or pool; else empty."""
    shape: tuple[int, ...]
    """Of the output for one image: (C, H, W), or (K,) of a head."""
    widths: dict[str, int]
    """Name of each convolution in the stage → its output channels."""
    parameters: int
    macs: int
    """Multiply-adds of convolutions and linear layers for one image."""


def summary(net: nn.Module, image_size: int) -> list[StageSummary]:
    """A row for each stage that runs in the network's mode, in forward order.

    Auxiliary heads run in training alone. The forward pass is one of meta tensors, which computes
    nothing and leaves `net` unchanged. Each layer is counted once.
    """
    stages = {stage: name for name, stage in _stages(net)}
    shapes: dict[nn.Module, torch.Size] = {}

    def record(module: nn.Module, _: object, output: Tensor) -> None:
        shapes[module] = output.shape[1:]

    hooked = {*stages, *(layer for stage in stages for layer in _layers(stage).values())}
    handles = [module.register_forward_hook(record) for module in hooked]
    try:
        _meta_pass(net, image_size)
    finally:
        for handle in handles:
            handle.remove()
    return [
        StageSummary(
            stages[module],
            _kernel(module),
            tuple(shape),
            _widths(module),
            sum(parameter.numel() for parameter in module.parameters()),
            sum(_macs(layer, shapes[layer]) for layer in _layers(module).values()),
        )
        for module, shape in shapes.items()
        if module in stages
    ]


def _stages(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The children of `net`; of a `ModuleDict` its values."""
    for name, child in net.named_children():
        if isinstance(child, nn.ModuleDict):
            yield from ((f"{name}.{key}", value) for key, value in child.items())
        else:
            yield name, child


def _layers(stage: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    modules = stage.named_modules()
    return {name: layer for name, layer in modules if isinstance(layer, nn.Conv2d | nn.Linear)}


def _meta_pass(net: nn.Module, image_size: int) -> None:
    tensors = chain(net.named_parameters(), net.named_buffers())
    meta = {name: tensor.detach().to("meta") for name, tensor in tensors}
    images = torch.empty(
        2, 3, image_size, image_size, device="meta"
    )  # batch norm refuses one value a channel
    with torch.no_grad():
        functional_call(net, meta, (images,))


def _kernel(stage: nn.Module) -> str:
    windows = [
        module
        for module in stage.modules()
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)
    ]
    if len(windows) != 1:
        return ""
    size, stride = (
        value if isinstance(value, int) else value[0]
        for value in (windows[0].kernel_size, windows[0].stride)
    )
    return f"{size}×{size}/{stride}"


def _widths(stage: nn.Module) -> dict[str, int]:
    return {
        name.removesuffix(".conv"): layer.out_channels
        for name, layer in _layers(stage).items()
        if isinstance(layer, nn.Conv2d)
    }


def _macs(layer: nn.Conv2d | nn.Linear, shape: torch.Size) -> int:
    """Multiply-adds: every weight is used once for each position of the output."""
    return layer.weight.numel() * (shape.numel() // layer.weight.shape[0])
