"""The architecture as a table like the paper's Table 1, for any network."""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
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

    Auxiliary heads run in training alone. The forward pass is one of a copy without values.
    """
    meta = copy.deepcopy(net).to("meta")
    stages = dict(_stages(meta))
    shapes: dict[str, tuple[int, ...]] = {}
    for name, stage in stages.items():

        def record(_: nn.Module, __: object, output: Tensor, name: str = name) -> None:
            shapes[name] = tuple(output.shape[1:])

        stage.register_forward_hook(record)
    images = torch.empty(2, 3, image_size, image_size, device="meta")  # batch norm needs two values
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        meta(images)
    flops = counter.get_flop_counts()
    return [
        StageSummary(
            name,
            _kernel(stages[name]),
            shape,
            {
                layer.removesuffix(".conv"): module.out_channels
                for layer, module in stages[name].named_modules()
                if isinstance(module, nn.Conv2d)
            },
            sum(parameter.numel() for parameter in stages[name].parameters()),
            # Two operations are one multiply-add, and the batch has two images.
            sum(flops.get(f"{type(net).__name__}.{name}", {}).values()) // 4,
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


def _kernel(stage: nn.Module) -> str:
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
    windows = [module for module in stage.modules() if isinstance(module, kinds)]
    if len(windows) != 1:
        return ""
    size, stride = (
        value if isinstance(value, int) else value[0]
        for value in (windows[0].kernel_size, windows[0].stride)
    )
    return f"{size}×{size}/{stride}"


def costs(net: nn.Module, image_size: int, eval_size: int) -> dict[str, int | None]:
    """Parameters, and multiply-adds of an image: in training, and in inference without auxiliary heads.

    None for a network whose forward pass the meta device does not suit.
    """
    found: dict[str, int | None] = {}
    for mode, size in (("training", image_size), ("inference", eval_size)):
        copied = copy.deepcopy(net).train(mode == "training")
        try:
            rows = summary(copied, size)
        except Exception:  # of any network of the user's
            rows = []
        found[f"parameters_{mode}"] = sum(row.parameters for row in rows) or None
        found[f"macs_{mode}"] = sum(row.macs for row in rows) or None
    return found
