"""torchvision's GoogLeNet on CIFAR-10 in a plain Lightning loop, for as many minutes as it is given.

python benchmarks/cifar10_torchvision.py DIR 15 0      folder of CIFAR-10, minutes, seed

It has the data, the augmentation, the loss, the optimizer and the schedule of recipe=cifar10, and a
stem for small images as ours: torchvision's own would leave maps of one pixel. The schedule follows the
clock, so that it ends with the last minute. Ours in the same time, by epochs:

python src/train.py recipe=cifar10 data.root=DIR epochs=N seed=0
"""

import sys
import time
from typing import Any

import lightning as L
import torch
from hydra import compose, initialize_config_dir
from torch import nn
from torchmetrics.functional.classification import multiclass_accuracy
from torchvision.models import googlenet
from torchvision.models.googlenet import BasicConv2d

from deeper.cli.resolvers import register_resolvers
from deeper.config import instantiate
from deeper.config.groups import CONFIG_FOLDER
from deeper.config.schema import register_schemas
from deeper.data.batch import Batch
from deeper.models.output import Output
from deeper.runs import build
from deeper.training.memory import keep_freed_memory
from deeper.training.optimizers import make_optimizer
from deeper.training.schedules import Progress


def main(root: str, minutes: str, seed: str) -> None:
    L.seed_everything(int(seed))
    keep_freed_memory()
    register_schemas()
    register_resolvers()
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        cfg = compose("train", ["recipe=cifar10", f"data.root={root}", f"seed={seed}"])
    data = build.data(cfg)
    trainer = L.Trainer(
        accelerator="auto", devices=1, precision="bf16-mixed", max_epochs=-1, logger=False,
        max_time={"minutes": float(minutes)}, limit_val_batches=0, enable_checkpointing=False,
    )  # fmt: skip
    plain = Plain(cfg, 60 * float(minutes))
    trainer.fit(plain, data)
    trainer.test(plain, data)


class Plain(L.LightningModule):
    def __init__(self, cfg: Any, seconds: float) -> None:
        super().__init__()
        self.cfg, self.seconds, self.began = cfg, seconds, 0.0
        self.net = googlenet(weights=None, aux_logits=False, init_weights=True, num_classes=10)
        self.net.conv1 = BasicConv2d(3, 64, kernel_size=3, padding=1)  # type: ignore[assignment]
        self.net.maxpool1 = nn.Identity()  # type: ignore[assignment]
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.preprocess, self.loss = instantiate.build(cfg.preprocess), instantiate.build(cfg.loss)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        output = Output(self.net(self.preprocess(batch.images)), {})
        return self.loss(output, batch.labels)["loss"]  # type: ignore[no-any-return]

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        logits = self.net(self.preprocess(batch.images))
        right = multiclass_accuracy(logits, batch.labels, 10, average="micro")
        self.log("test/top1", right, batch_size=len(batch.labels))

    def on_train_start(self) -> None:
        self.began = time.monotonic()

    def configure_optimizers(self) -> Any:
        schedule = instantiate.build(self.cfg.scheduler)

        def factor(step: int) -> float:
            done = min((time.monotonic() - self.began) / self.seconds, 1.0) if step else 0.0
            return float(schedule(Progress(done, done, 1)))

        optimizer = make_optimizer(instantiate.build(self.cfg.optimizer), self.net)
        return [optimizer], [
            {"scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, factor), "interval": "step"}
        ]


if __name__ == "__main__":
    main(*sys.argv[1:])
