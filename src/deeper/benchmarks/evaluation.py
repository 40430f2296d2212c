"""The 144-crop evaluation from files to probabilities, against its network alone on ready batches.

GoogLeNet with random weights at 224 px, float32 on one thread of the CPU; both take the
same views in the same chunks, in turns. What is lost is reading, cropping, chunking and fusing.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import nn

from deeper.augment.flip import RandomFlip
from deeper.benchmarks import report
from deeper.benchmarks.loading import MEAN, SIZE, STD, Photos
from deeper.data.datamodule import ImageData
from deeper.data.sampler import RankSlice
from deeper.data.splits import Subset
from deeper.evaluation.chunks import Chunk
from deeper.evaluation.protocol import Paper144, Single
from deeper.evaluation.runner import Job, Judge
from deeper.models.googlenet import GoogLeNet
from deeper.models.heads import AvgPoolHead
from deeper.models.inception import Reduced
from deeper.models.init import He
from deeper.models.norm import BatchNorm
from deeper.models.preprocess import Preprocess
from deeper.training import silence  # noqa: F401

CHUNK = 48

IMAGES = 8
"""All their views are held at once: 22 MB a picture."""


def run(root: Path, images: int, rounds: int, workers: int, results: Path) -> None:
    """`images` of the photos in each round; the first round counts for nothing."""
    torch.set_num_threads(1)
    net = Network().eval()
    photos = Photos(root)
    with TemporaryDirectory() as scratch:
        data = ImageData(
            Photos, root=str(root), cache=scratch, image_size=SIZE, batch_size=1, seed=0,
            augment={"flip": RandomFlip()}, protocol=Single, val_from="official",
            eval_batch_size=CHUNK, workers=workers,
        )  # fmt: skip
        data.prepare_data()
        data.setup()
        some = Subset(data.splits.test, np.arange(min(images, len(photos.paths))))
        found: list[torch.Tensor] = []
        job = Job(net, Paper144(SIZE), SIZE, some, found.append)
        ready = [*job.chunks(data, RankSlice())]
        contestants: dict[str, Callable[[], Any]] = {
            "network on ready batches": lambda: bare(net, ready),
            "evaluation": lambda: evaluation(job, data, scratch),
        }
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        for number in range(rounds + 1):
            for name, one_pass in contestants.items():
                start = perf_counter()
                one_pass()
                if number:
                    rates[name].append(len(some) / (perf_counter() - start))
    alone = rates["network on ready batches"]
    rows = [
        {"pass": name, "images_per_s": round(median(own), 4)}
        | {"share": round(median(a / b for a, b in zip(own, alone, strict=True)), 3)}
        | {"of_rounds": [round(rate, 4) for rate in own]}
        for name, own in rates.items()
    ]
    about = {"images": len(some), "rounds": rounds, "workers": workers, "size": SIZE, "crops": 144}
    report.show(f"{len(some)} photos of {root}, 144 crops of {SIZE} px, {workers} workers", rows)
    report.write("evaluation", about | {"rows": rows}, results)


class Network(nn.Sequential):
    """uint8 images → logits; `model=googlenet`, without auxiliary heads, which take no part."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        net = GoogLeNet(
            1000, image_size=SIZE, head=AvgPoolHead, aux={}, norm=BatchNorm(), block=Reduced, init=He()
        )  # fmt: skip
        super().__init__(Preprocess(MEAN, STD), net.to(memory_format=torch.channels_last))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        preprocess, net = self
        logits: torch.Tensor = net(preprocess(images)).logits
        return logits


@torch.inference_mode()
def bare(net: nn.Module, chunks: list[Chunk]) -> None:
    for chunk in chunks:
        net(chunk.images)


def evaluation(job: Job, data: ImageData, scratch: str) -> None:
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False,
        enable_progress_bar=False, use_distributed_sampler=False, default_root_dir=scratch,
    )  # fmt: skip
    trainer.validate(Judge(lambda _: [job], data, "mean"), verbose=False)
