"""The LightningModule: it joins network, loss, optimizer and schedule, and decides nothing itself."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from deeper.augment.mix import Mix
from deeper.checkpoint import require_classes
from deeper.data.batch import Batch
from deeper.data.sampler import derive_seed
from deeper.models.output import Output
from deeper.training.loss import AuxWeighted
from deeper.training.metrics import TopK
from deeper.training.schedules import Progress


class ImageClassifier(L.LightningModule):
    """`optimizer(net)` makes the optimizer, `scheduler(progress)` a factor of its rates each step.

    `seed` fixes dropout, `mix` and whatever else draws in a step, by step and rank. `carried` is
    `checkpoint.contents`, which every checkpoint takes along.
    """

    def __init__(
        self,
        net: nn.Module,
        preprocess: nn.Module,
        loss: AuxWeighted,
        optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        scheduler: Callable[[Progress], float],
        seed: int,
        carried: dict[str, Any],
        mix: Mix | None = None,
    ) -> None:
        super().__init__()
        self.net, self.preprocess, self.loss, self.mix = net, preprocess, loss, mix or Mix()
        self.optimizer, self.scheduler, self.seed = optimizer, scheduler, seed
        self.carried = carried
        self.counts = TopK()
        self._stand_in: list[nn.Module] = []

    def forward(self, images: Tensor) -> Output:
        """uint8 [B, 3, S, S] → `Output`, by the averaged network in evaluation where there is one."""
        net = self.net if self.training or not self._stand_in else self._stand_in[0]
        output = net(self.preprocess(images))
        return output if isinstance(output, Output) else Output(output, {})

    def evaluate_with(self, net: nn.Module | None) -> None:
        """Judge these weights in place of the live ones. A list keeps them out of `state_dict`."""
        self._stand_in = [] if net is None else [net]

    def on_fit_start(self) -> None:
        for logger in self.loggers:
            logger.log_hyperparams(self.carried["config"])

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        torch.manual_seed(self.step_seed(batch_idx))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        classes, seed = len(self.carried["classes"]), self.step_seed(batch_idx)
        images, targets = self.mix(batch.images, batch.labels, classes, seed)
        losses: dict[str, Tensor] = self.loss(self(images), targets)
        return losses

    def step_seed(self, batch_idx: int) -> int:
        return derive_seed(self.seed, self.current_epoch, batch_idx, self.global_rank)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        logits = self(batch.images).logits.float()
        losses = self.loss.per_image(logits, batch.labels)
        self.counts.update(logits, batch.labels, losses, batch.valid)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        self._report("val", self.trainer.val_dataloaders, self.trainer.limit_val_batches)

    def on_test_epoch_end(self) -> None:
        self._report("test", self.trainer.test_dataloaders, self.trainer.limit_test_batches)

    def _report(self, split: str, loader: Any, limit: float) -> None:
        counts = self.counts.compute()
        self.counts.reset()
        # An int counts batches, a float is a share: 1 and 1.0 differ.
        whole = isinstance(limit, float) and limit == 1.0 and not self.trainer.sanity_checking
        n, expected = int(counts["n"]), len(loader.dataset)
        assert not whole or n == expected, f"{n} of {expected} images counted"  # noqa: S101
        self.log_dict({f"{split}/{name}": value.float() for name, value in counts.items()})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["deeper"] = self.carried

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        require_classes(checkpoint, self.carried["classes"])

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.net)
        schedule = LambdaLR(optimizer, lambda step: self.scheduler(self.progress(step)))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def progress(self, step: int) -> Progress:
        """Not from `estimated_stepping_batches`, which drops a loader's state (Lightning #20550)."""
        t = self.trainer
        batches = len(t.datamodule.train_sampler())  # type: ignore[attr-defined]
        limit = t.limit_train_batches
        batches = int(batches * limit) if isinstance(limit, float) else min(limit, batches)
        steps = max(batches // t.accumulate_grad_batches, 1)
        epochs = t.max_epochs or 1
        return Progress(step / (steps * epochs), step / steps, epochs)
