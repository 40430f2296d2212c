"""The 144-crop evaluation from files to probabilities, against its network alone on decoded batches.

Both take the same crops in the same batches on one thread; the difference is the cost of reading,
cropping and averaging.
"""

from collections.abc import Iterator

import lightning as L
import torch

from deeper.augment.flip import RandomFlip
from deeper.benchmarks.loading import photos
from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Contest
from deeper.data.datamodule import ImageData
from deeper.data.sampler import RankSlice
from deeper.data.splits import limited
from deeper.evaluation.protocol import Paper144, Single
from deeper.evaluation.runner import Evaluator
from deeper.models.deployed import Deployed

BATCH = 48
"""Crops that the network sees at a time."""

IMAGES = 4
"""All their crops are held in memory at once: 22 MB an image."""

ALONE = "network on ready batches"


def contests(setting: Setting) -> Iterator[Contest]:
    module = setting.classifier()
    net = Deployed(module.preprocess, module.net).eval()
    for workers in sorted({0, setting.workers}):
        yield contest(setting, net, workers)


def contest(setting: Setting, net: Deployed, workers: int) -> Contest:
    source, size = photos(setting), setting.size
    data = ImageData(
        lambda root, cache: source, root=str(setting.root), cache=str(setting.scratch),
        image_size=size, batch_size=1, seed=0, augment={"flip": RandomFlip()}, protocol=Single,
        val_from="official", eval_batch_size=BATCH, workers=workers,
    )  # fmt: skip
    data.prepare_data()
    data.setup()
    some = limited(data.splits.train, IMAGES)
    evaluator = Evaluator(net, Paper144(size), size, some, data, "mean", save=lambda p: None)
    ready = [batch.images.to(setting.device) for batch in evaluator.batches(RankSlice())]
    trainer = L.Trainer(
        barebones=True, use_distributed_sampler=False, accelerator=setting.device.type, devices=1,
        precision=setting.precision.plugin,  # type: ignore[arg-type]
    )  # fmt: skip

    @torch.inference_mode()
    def alone() -> None:
        with setting.autocast:
            for images in ready:
                evaluator.probabilities(images)

    def evaluation() -> None:
        evaluator.found.clear()
        trainer.validate(evaluator, verbose=False)

    return Contest(
        f"evaluation, {len(some)} photos, 144 crops of {size} px, {workers} workers",
        {ALONE: alone, "evaluation": evaluation},
        "images/s", len(some), baselines=(ALONE,), threads=1,
    )  # fmt: skip
