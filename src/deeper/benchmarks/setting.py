"""What every benchmark is told, and a classifier as train.py would build it there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from hydra import compose
from omegaconf import DictConfig

from deeper.config import instantiate
from deeper.data.batch import Batch
from deeper.runs import build
from deeper.training.memory import keep_freed_memory
from deeper.training.module import ImageClassifier
from deeper.training.precision import (
    Precision,
    accelerator_for,
    bf16_in_hardware,
    resolved_precision,
)
from deeper.training.silence import silence_lightning

CLASSES = [str(number) for number in range(1000)]


@dataclass(frozen=True)
class Setting:
    device: torch.device
    precision: Precision
    batch_size: int
    size: int
    """Height and width of images in pixels."""
    images: int | None
    """Of a pass of `loading`; None: as many as it chooses."""
    workers: int
    compile: bool
    root: Path | None
    """A folder with photos in train/<class>/*."""
    scratch: Path

    @classmethod
    @contextmanager
    def opened(cls, cfg: DictConfig) -> Iterator["Setting"]:
        """With a folder for files of benchmarks, beside the results and so on the same disk."""
        silence_lightning()
        device = torch.device(accelerator_for(cfg.device.value))
        precision = resolved_precision(cfg.precision.value, device.type)  # type: ignore[arg-type]
        precision.apply()
        if device.type == "cpu":
            keep_freed_memory()  # as in training, for all contestants
        batch_size = cfg.batch_size or (32 if device.type == "cpu" else 256)
        root = Path(cfg.data.root).expanduser() if cfg.data.root else None
        results = Path(cfg.results).expanduser()
        results.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=results) as scratch:
            yield cls(
                device, precision, batch_size, cfg.size, cfg.images, cfg.workers, cfg.compile, root,
                Path(scratch),
            )  # fmt: skip

    @property
    def trainer(self) -> str:
        """The option of the group `trainer`."""
        return "cpu" if self.device.type == "cpu" else "gpu"

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "device": self.device.type, "precision": self.precision.name,
            "batch_size": self.batch_size, "size": self.size, "workers": self.workers,
            "threads": torch.get_num_threads(),
        }  # fmt: skip

    @property
    def has_bf16(self) -> bool:
        """Otherwise it is emulated, tens of times as slow as fp32 on a CPU, and left out."""
        return bf16_in_hardware(self.device.type)[0]  # type: ignore[arg-type]

    @property
    def autocast(self) -> torch.autocast:
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision.name)
        return torch.autocast(self.device.type, half, enabled=half is not None)

    @property
    def steps(self) -> int:
        """Steps of a pass: one is too short to be timed on a GPU."""
        return 1 if self.device.type == "cpu" else 10

    def repeated(self, step: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(self.steps):
                step()

        return run

    def batch(self) -> Batch:
        return noise(self.batch_size, self.size, len(CLASSES), self.device)

    def config(self, *words: str) -> DictConfig:
        """The config of `train.py <words>` on this device."""
        return compose("train", [
            f"data.image_size={self.size}", f"batch_size={self.batch_size}",
            f"precision={self.precision.name}", f"trainer={self.trainer}", *words,
        ])  # fmt: skip

    def classifier(self, *words: str, classes: int = len(CLASSES)) -> ImageClassifier:
        """What `train.py <words>` trains, on the device, with a trainer of its precision."""
        cfg = self.config(*words)
        module = build.classifier(cfg, [str(number) for number in range(classes)])
        build.use_kernels(cfg, module.net)
        module.trainer = instantiate.build(
            cfg.trainer, precision=self.precision.plugin, logger=False, callbacks=[]
        )
        return module.to(self.device)


def noise(n: int, size: int, classes: int, device: torch.device | str) -> Batch:
    """A batch of `n` images of noise on the device, uint8 in channels_last, the same one each time."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8, generator=random)
    labels = torch.randint(0, classes, (n,), generator=random)
    tensors = pixels.movedim(3, 1), labels, torch.arange(n), torch.ones(n, dtype=torch.bool)
    return Batch(*(tensor.to(device) for tensor in tensors))
