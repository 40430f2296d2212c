"""The 144-crop evaluation from files to probabilities, against its network alone on decoded batches.

GoogLeNet with random weights at 224 px, float32 on one thread of the CPU. Both take the same crops
in the same batches, alternately; the difference is the cost of reading, cropping and averaging.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import torch
from torch import nn

from deeper.augment.flip import RandomFlip
from deeper.benchmarks import report, timing
from deeper.benchmarks.loading import MEAN, SIZE, STD, photos
from deeper.data.batch import Batch
from deeper.data.datamodule import ImageData
from deeper.data.sampler import RankSlice
from deeper.data.splits import limited
from deeper.evaluation.protocol import Paper144, Single
from deeper.evaluation.runner import Evaluator
from deeper.models.googlenet import GoogLeNet
from deeper.models.heads import AvgPoolHead
from deeper.models.inception import Reduced
from deeper.models.init import He
from deeper.models.norm import BatchNorm
from deeper.models.preprocess import Preprocess
from deeper.training.silence import silence_lightning

BATCH = 48
"""Crops that the network sees at a time."""

IMAGES = 8
"""All their crops are held in memory at once: 22 MB an image."""


def run(root: Path, images: int, rounds: int, workers: int, results: Path) -> None:
    """Evaluate `images` of the photos in each round; the first round is a warm-up."""
    torch.set_num_threads(1)
    silence_lightning()
    net = Network().eval()
    with TemporaryDirectory() as scratch:
        data = ImageData(
            photos, root=str(root), cache=scratch, image_size=SIZE, batch_size=1, seed=0,
            augment={"flip": RandomFlip()}, protocol=Single, val_from="official",
            eval_batch_size=BATCH, workers=workers,
        )  # fmt: skip
        data.prepare_data()
        data.setup()
        some = limited(data.splits.train, images)
        evaluator = Evaluator(
            net, Paper144(SIZE), SIZE, some, data, "mean", save=lambda probabilities: None
        )
        ready = [*evaluator.batches(RankSlice())]
        contestants: dict[str, Callable[[], Any]] = {
            "network on ready batches": lambda: network_alone(evaluator, ready),
            "evaluation": lambda: evaluation(evaluator, scratch),
        }
        taken = timing.seconds(contestants, rounds)
    alone = taken["network on ready batches"]
    rows = [
        {"pass": name, "images_per_s": round(len(some) / median(times), 4)}
        | {"share": round(timing.speedup(times, alone), 3)}
        | {"of_rounds": [round(len(some) / time, 4) for time in times]}
        for name, times in taken.items()
    ]
    about = {"images": len(some), "rounds": rounds, "workers": workers, "size": SIZE, "crops": 144}
    report.show_rows(
        f"{len(some)} photos of {root}, 144 crops of {SIZE} px, {workers} workers", rows
    )
    report.write("evaluation", about | {"rows": rows}, results)


class Network(nn.Sequential):
    """uint8 images → logits of `model=googlenet` without auxiliary heads, which inference leaves out."""

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
def network_alone(evaluator: Evaluator, batches: list[Batch]) -> None:
    for batch in batches:
        evaluator.probabilities(batch.images)


def evaluation(evaluator: Evaluator, scratch: str) -> None:
    evaluator.found.clear()
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False,
        enable_progress_bar=False, use_distributed_sampler=False, default_root_dir=scratch,
    )  # fmt: skip
    trainer.validate(evaluator, verbose=False)
