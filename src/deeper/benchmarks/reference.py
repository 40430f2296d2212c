"""torchvision's GoogLeNet and its users' way to train it and to load its images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from torchvision.models import googlenet

from deeper.benchmarks.setting import CLASSES, Setting

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def network() -> nn.Module:
    net: nn.Module = googlenet(
        weights=None, aux_logits=True, init_weights=True, num_classes=len(CLASSES)
    )
    return net


def training_step(setting: Setting, tuned: bool = False) -> Callable[[Tensor, Tensor], None]:
    """On float images: fp32 and contiguous as people run it, or `tuned`."""
    layout = torch.channels_last if tuned else torch.contiguous_format
    net = network().to(setting.device).to(memory_format=layout).train()
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=tuned or None
    )

    def step(images: Tensor, labels: Tensor) -> None:
        # cuDNN's TF32 as torch has it; our fp32 turns it off for the whole process.
        usual = torch.backends.cudnn.flags(enabled=True, allow_tf32=True)
        optimizer.zero_grad(set_to_none=True)
        with setting.autocast if tuned else usual:
            logits, aux2, aux1 = net(images)
            aux = F.cross_entropy(aux1, labels) + F.cross_entropy(aux2, labels)
            loss = F.cross_entropy(logits, labels) + 0.3 * aux
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def normalized(images: Tensor) -> Tensor:
    """uint8 [B, 3, S, S] → float32 in NCHW, as torchvision's transforms give it."""
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return ((images.float() / 255 - mean) / std).contiguous()


def loader(
    folder: Path, order: list[int], size: int, batch_size: int, workers: int
) -> DataLoader[Any]:
    """As in torchvision's references/classification, backend PIL."""
    steps = [
        transforms.RandomResizedCrop(size, antialias=True),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
        transforms.ConvertImageDtype(torch.float),
        transforms.Normalize(MEAN, STD),
    ]
    images = datasets.ImageFolder(str(folder), transforms.Compose(steps))
    return DataLoader(
        images, batch_size, sampler=order, num_workers=workers, persistent_workers=workers > 0
    )
