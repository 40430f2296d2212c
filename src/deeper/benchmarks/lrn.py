"""Local response normalisation, forward and backward in float32, against torch's layer."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Contest, Figure
from deeper.models.lrn import LocalResponseNorm
from deeper.runs import build


def contests(setting: Setting) -> Iterator[Contest]:
    shape = (setting.batch_size, 192, setting.size // 4, setting.size // 4)  # the input of norm2
    images = torch.randn(shape, device=setting.device).to(memory_format=torch.channels_last)
    ours = nn.Sequential(LocalResponseNorm(5))
    build.use_kernels(setting.config(), ours)
    layers = {"torch": nn.LocalResponseNorm(5), "ours": ours}
    if setting.device.type == "cpu":
        layers["ours, kernels=false"] = LocalResponseNorm(5)
    passes = {
        name: setting.repeated(partial(forward_and_backward, layer, images.requires_grad_()))
        for name, layer in layers.items()
    }
    yield Contest(
        f"local response normalisation of {'×'.join(map(str, shape))}, fp32",
        passes, "ms", setting.steps, baselines=("torch",),
        figures=[Figure("LRN forward and backward against torch's", "ours", "torch", at_least=6)],
    )  # fmt: skip


def forward_and_backward(layer: nn.Module, images: Tensor) -> None:
    images.grad = None
    layer(images).sum().backward()
