"""The architecture as a table like the paper's Table 1, for any network."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode


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
    nothing and leaves `net` unchanged.
    """
    stages = dict(_stages(net))
    shapes: dict[str, torch.Size] = {}
    handles = []
    for name, module in stages.items():

        def record(_: nn.Module, __: object, output: Tensor, name: str = name) -> None:
            shapes[name] = output.shape[1:]

        handles.append(module.register_forward_hook(record))
    try:
        macs = _multiply_adds(net, image_size)
    finally:
        for handle in handles:
            handle.remove()
    return [
        StageSummary(
            name,
            _kernel(stages[name]),
            tuple(shape),
            _widths(stages[name]),
            sum(parameter.numel() for parameter in stages[name].parameters()),
            macs[name],
        )
        for name, shape in shapes.items()
    ]


def _stages(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The children of `net`; of a `ModuleDict` its values."""
    for name, child in net.named_children():
        if isinstance(child, nn.ModuleDict):
            yield from ((f"{name}.{key}", value) for key, value in child.items())
        else:
            yield name, child


def _multiply_adds(net: nn.Module, image_size: int) -> Counter[str]:
    """Name of a module → multiply-adds of its convolutions and linear layers for one image."""
    tensors = chain(net.named_parameters(), net.named_buffers())
    meta = {name: tensor.detach().to("meta") for name, tensor in tensors}
    images = torch.empty(2, 3, image_size, image_size, device="meta")  # batch norm needs two values
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(net, meta, (images,))
    flops = counter.get_flop_counts()
    # Two operations are one multiply-add, and the batch has two images.
    return Counter(
        {name.partition(".")[2]: sum(counts.values()) // 4 for name, counts in flops.items()}
    )


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
        for name, layer in stage.named_modules()
        if isinstance(layer, nn.Conv2d)
    }
