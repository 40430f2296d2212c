"""A training of six steps: a network of a few weights on generated images, in memory."""

from tempfile import gettempdir

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from deeper.checkpoint import AtomicCheckpointIO, contents
from deeper.data.datamodule import ImageData
from deeper.data.source import Splits
from deeper.evaluation.protocol import Single
from deeper.models.output import Output
from deeper.models.preprocess import Preprocess
from deeper.training.loss import CrossEntropy
from deeper.training.module import ImageClassifier
from deeper.training.optimizers import sgd
from deeper.training.schedules import constant

CLASSES = ["ant", "bee", "cat"]


class Images:
    def __init__(self, n: int) -> None:
        self.labels = np.arange(n) % 3

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        pixels = np.random.default_rng(index).integers(0, 256, (6, 6, 3), np.uint8)
        return Image.fromarray(pixels), int(self.labels[index])


class Source:
    def __init__(self, root: str, cache: str) -> None:
        """Its images are in memory."""

    def prepare(self) -> None:
        """Nothing has to be prepared."""

    def load(self) -> Splits:
        train, val = Images(18), Images(10)  # 10 is no multiple of a batch of 4
        return Splits(CLASSES, train, val, val)


class Net(nn.Module):
    """Dropout comes before the norm, so that it shows in the norm's statistics."""

    def __init__(
        self, dropout: float = 0.0, aux: bool = False, norm: bool = True, seed: int = 0
    ) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.drop = nn.Dropout(dropout)
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.head = nn.Linear(4, 3)
        self.aux = nn.Linear(4, 3) if aux else None

    def forward(self, x):
        features = self.norm(self.conv(self.drop(x))).relu().mean((2, 3))
        aux = {"norm": self.aux(features)} if self.training and self.aux is not None else {}
        return Output(self.head(features), aux)


def data(**options) -> ImageData:
    options = {"batch_size": 6, "eval_batch_size": 4, "image_size": 6, "workers": 0} | options
    return ImageData(
        Source,
        root="/",
        cache=gettempdir(),
        augment={"flip": v2.RandomHorizontalFlip()},
        protocol=lambda size, crop: Single(size, 1.0),
        seed=3,
        val_from="official",
        **options,
    )


def module(
    net: nn.Module | None = None, *, loss=None, lr=0.1, scheduler=constant, config=None, **options
):
    return ImageClassifier(
        net or Net(),
        Preprocess([0.5] * 3, [0.25] * 3),
        loss or CrossEntropy(),
        lambda net: sgd(net, lr=lr, batch_size=6),
        scheduler,
        seed=1,
        checkpoint_metadata=contents(config or {}, CLASSES),
        **options,
    )


def trainer(*callbacks: L.Callback, max_epochs: int = 2, **options) -> L.Trainer:
    """3 steps an epoch."""
    defaults = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "plugins": [AtomicCheckpointIO()],
    }
    return L.Trainer(max_epochs=max_epochs, callbacks=[*callbacks], **defaults | options)


class Rows(Logger):
    """Keeps what is logged."""

    name, version = "rows", ""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []

    def log_hyperparams(self, *_, **__):
        """Not kept."""

    def log_metrics(self, metrics, step=None):
        self.rows.append({"step": step, **metrics})
