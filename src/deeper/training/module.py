"""The LightningModule: a network with its loss, optimizer, schedule and metrics."""

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import Metric

from deeper.augment.mix import Mix
from deeper.checkpoint import require_classes
from deeper.data.batch import Batch
from deeper.data.sampler import derive_seed
from deeper.models.geometry import training_size
from deeper.models.output import Output
from deeper.models.preprocess import resized
from deeper.training.failures import Diverged
from deeper.training.hooks import skip_empty_hooks
from deeper.training.loss import AuxWeighted, training_loss
from deeper.training.metrics import TopK, collection, gathered, label_ranks, log_row, single_numbers
from deeper.training.optimizers import OptimizerFactory, learning_rate, make_optimizer
from deeper.training.schedules import Progress


class ImageClassifier(L.LightningModule):
    """`optimizer` is what `make_optimizer` takes, `scheduler(progress)` a factor of its rates.

    `seed` fixes dropout, `mix` and all else that draws in a step, by epoch, batch and rank.
    `checkpoint_metadata` is `checkpoint.contents(…)`, which every checkpoint holds. `metrics` are
    computed in validation and test beside the negative log-likelihood and the accuracy. The first
    images are resized to `initial_scale` of their size (`training_size`).
    """

    def __init__(
        self,
        net: nn.Module,
        preprocess: nn.Module,
        loss: AuxWeighted | Callable[..., Tensor],
        optimizer: OptimizerFactory,
        scheduler: Callable[[Progress], float],
        seed: int,
        checkpoint_metadata: dict[str, Any],
        mix: Mix | None = None,
        metrics: Mapping[str, Metric | Callable[..., Metric]] | None = None,
        initial_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.net, self.preprocess, self.mix = net, preprocess, mix or Mix()
        self.loss = training_loss(loss, self.mix)
        self.optimizer, self.scheduler, self.seed = optimizer, scheduler, seed
        self.initial_scale = initial_scale
        self.checkpoint_metadata = checkpoint_metadata
        self.num_classes = len(checkpoint_metadata["classes"])
        self.topk, self.metrics = TopK(), collection(metrics or {}, self.num_classes)
        self._evaluation_network: list[nn.Module] = []
        self.test_outcomes: Tensor | None = None
        """After a test of all images, float64 [4, N]: label, predicted class, rank of the label, loss."""

    def forward(self, images: Tensor) -> Output:
        """uint8 [B, 3, S, S] → `Output`, in evaluation by the averaged network if there is one."""
        net = self.net
        if self._evaluation_network and not self.training:
            (net,) = self._evaluation_network
        output = net(self.preprocess(images))
        return output if isinstance(output, Output) else Output(output, {})

    def set_evaluation_network(self, net: nn.Module | None) -> None:
        """Evaluate `net` in place of the live network; None ends that.

        The list keeps its weights out of `parameters()` and `state_dict()`.
        """
        self._evaluation_network = [] if net is None else [net]

    def __setattr__(self, name: str, value: Any) -> None:
        """Lightning notes the name of each hook before and after it, 46 times a step."""
        if name == "_current_fx_name":
            self.__dict__[name] = value  # nn.Module looks for parameters and buffers first
        else:
            super().__setattr__(name, value)

    def on_fit_start(self) -> None:
        skip_empty_hooks(self.trainer, self)
        for logger in self.loggers:
            logger.log_hyperparams(self.checkpoint_metadata["config"])

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        seed = self.step_seed(batch_idx)
        # torch.manual_seed takes a tenth of a millisecond.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        seed = self.step_seed(batch_idx)
        progress = self.progress(self.global_step)
        size = training_size(batch.images.shape[-1], self.initial_scale, progress.fraction)
        images = resized(batch.images, size)
        images, targets = self.mix(images, batch.labels, self.num_classes, seed)
        return self.loss(self(images), targets, progress)  # type: ignore[no-any-return]

    def step_seed(self, batch_idx: int) -> int:
        return derive_seed(self.seed, self.current_epoch, batch_idx, self.global_rank)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Label, predicted class, rank of the label and loss of each image, float64 [4, B]."""
        logits = self(batch.images).logits.float()
        losses = F.cross_entropy(logits, batch.labels, reduction="none")
        ranks = label_ranks(logits, batch.labels)
        self.topk.update(ranks, losses, batch.valid)
        if self.metrics and batch.valid.any():  # the last batch may be all padding on a process
            self.metrics.update(logits.softmax(1)[batch.valid], batch.labels[batch.valid])
        return torch.stack([batch.labels, logits.argmax(1), ranks, losses.double()])

    def on_test_start(self) -> None:
        self._outcomes: list[Tensor] = []

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        index = batch.index.where(batch.valid, -1)
        self._outcomes.append(torch.vstack([index, self.validation_step(batch, batch_idx)]))

    def on_validation_epoch_end(self) -> None:
        values = self._computed(self.trainer.val_dataloaders, self.trainer.limit_val_batches)
        if self.trainer.state.fn == "fit" and not values["loss"].isfinite():
            rate = learning_rate(self.trainer)
            raise Diverged("the validation loss is", self.global_step, rate)
        self._report("val", values)

    def on_test_epoch_end(self) -> None:
        loader: Any = self.trainer.test_dataloaders
        limit = self.trainer.limit_test_batches
        self._report("test", self._computed(loader, limit))
        found = gathered(self, torch.cat(self._outcomes, dim=1).T).T
        found = found[:, found[0] >= 0].cpu()
        if found.shape[1] == len(loader.dataset):  # no limit left out some
            self.test_outcomes = found[1:, found[0].argsort()]

    def _computed(self, loader: Any, limit: float) -> dict[str, Tensor]:
        """All metrics of an evaluation, over all processes; the next one starts anew."""
        counts, others = self.topk.compute(), self.metrics.compute()
        self.topk.reset()
        self.metrics.reset()
        # Lightning's limit counts batches as an int and is a fraction as a float: 1 and 1.0 differ.
        whole = isinstance(limit, float) and limit == 1.0 and not self.trainer.sanity_checking
        n, expected = int(counts["n"]), len(loader.dataset)
        assert not whole or n == expected, f"{n} of {expected} images counted"  # noqa: S101
        return single_numbers(counts | others)

    def _report(self, split: str, values: dict[str, Tensor]) -> None:
        named = {f"{split}/{name}": value for name, value in values.items()}
        self.log_dict(named, logger=False)
        if not self.trainer.sanity_checking:
            log_row(self.trainer, {name: float(value) for name, value in named.items()})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["deeper"] = self.checkpoint_metadata

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        require_classes(checkpoint, self.checkpoint_metadata["classes"])

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.optimizer, self.net)
        schedule = LambdaLR(optimizer, lambda step: self.scheduler(self.progress(step)))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def progress(self, step: int) -> Progress:
        """Progress after `step` optimizer steps.

        Not from `estimated_stepping_batches`, which drops a loader's state (Lightning #20550).
        """
        epochs = self.trainer.max_epochs or 1
        if step == 0:  # the optimizer is built before Lightning knows the number of batches
            return Progress(0.0, 0.0, epochs)
        steps = steps_per_epoch(self.trainer)
        return Progress(step / (steps * epochs), step / steps, epochs)


def steps_per_epoch(trainer: L.Trainer) -> int:
    """Optimizer steps of an epoch: Lightning steps on a last, partial accumulation too."""
    return ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
