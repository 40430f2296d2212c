"""torchvision's GoogLeNet and its users' way to train it and to load its images."""

from collections.abc import Callable
from contextlib import AbstractContextManager
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


class Trainable:
    """A training step on float images: fp32 and contiguous as people run it, or `tuned`."""

    def __init__(self, setting: Setting, tuned: bool = False) -> None:
        self.layout = torch.channels_last if tuned else torch.contiguous_format
        self.net = network().to(setting.device).to(memory_format=self.layout).train()
        self.context: Callable[[], AbstractContextManager[Any]] = (
            (lambda: setting.autocast) if tuned else torch_defaults
        )
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=tuned or None
        )

    def step(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with self.context():
            logits, aux2, aux1 = self.net(images)
            aux = F.cross_entropy(aux1, labels) + F.cross_entropy(aux2, labels)
            loss = F.cross_entropy(logits, labels) + 0.3 * aux
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def torch_defaults() -> AbstractContextManager[Any]:
    """cuDNN's TF32 as torch has it; our fp32 turns it off for the whole process."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=True)


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
