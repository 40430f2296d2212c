"""Measures a training without slowing it: values stay on the device until a row is due."""

from math import isfinite
from time import perf_counter
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor

from deeper.checkpoint import accumulated_batches
from deeper.data.batch import Batch
from deeper.training.failures import Diverged, is_out_of_memory
from deeper.training.metrics import log_row
from deeper.training.optimizers import learning_rate


class Meter(L.Callback):
    """Logs a row every `trainer.log_every_n_steps` steps, and stops a training that diverged.

    A row has train/… (means over the row's batches and all ranks), optim/lr and grad_norm/<stage>
    of the row's last step, perf/images_per_s (of all ranks) and perf/data_wait (fraction of the
    time that this rank waited for batches). At each row and each epoch's end a loss that is not
    finite raises `Diverged` on all ranks, before anything is validated or saved. With
    `nonfinite=skip` a step whose gradient is not finite changes nothing, which costs a device sync
    a step, and only more than `budget` such steps raise.
    """

    def __init__(
        self,
        grad_norm: bool = True,
        nonfinite: Literal["stop", "skip"] = "stop",
        budget: int = 10,
    ) -> None:
        self.grad_norm, self.nonfinite, self.budget = grad_norm, nonfinite, budget
        self.skipped = 0
        """Steps skipped so far."""
        self._statistics: list[Tensor] = []
        """The network's buffers before the step, with `nonfinite=skip`."""
        self._losses: dict[str, list[Tensor]] = {}
        """Losses of each batch since the last row; a resumed run has the first from its checkpoint."""
        self._batches: list[tuple[int, float, Tensor]] = []
        """Step, rate and `Batch.index` of each batch since the last row or the start."""
        self._norms: dict[str, Tensor] = {}
        self._waited, self._images, self._step = 0.0, 0, -1
        self._started = self._left = 0.0
        self._all_waited = self._all_trained = 0.0

    @property
    def data_wait(self) -> float:
        """Fraction of the whole training that this rank waited for batches.

        Above a few percent a loader with processes is slower than the network, also where a GPU
        computes meanwhile: with a batch ready there is no wait.
        """
        return self._all_waited / max(self._all_trained, 1e-9)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A run that is resumed within an epoch has no start of an epoch."""
        self._step = trainer.global_step
        self._restart_clock()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restart_clock()

    def _restart_clock(self) -> None:
        """Validation is no training time."""
        self._started = self._left = perf_counter()
        self._waited, self._images = 0.0, 0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        waited = perf_counter() - self._left
        self._waited += waited
        self._all_waited += waited
        rate = learning_rate(trainer)
        self._batches.append((trainer.global_step + 1, rate, batch.index))
        if self.nonfinite == "skip" and not self._statistics:
            self._statistics = [b.clone() for b in pl_module.net.buffers()]  # type: ignore[union-attr]

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any
    ) -> None:
        if self.nonfinite == "skip":
            self._skip_if_not_finite(trainer, pl_module)
        if self.grad_norm and self._row_ends(trainer, trainer.global_step + 1):
            self._norms = {f"grad_norm/{s}": norm for s, norm in _norms(pl_module).items()}

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        for name, value in outputs.items():
            value = value.detach()
            if name == "loss" and trainer.accumulate_grad_batches > 1:
                # Lightning has divided it, and it alone.
                value = value * trainer.accumulate_grad_batches
            self._losses.setdefault(f"train/{name}", []).append(value)
        self._images += len(batch.images) * trainer.world_size
        before, self._left = self._left, perf_counter()
        self._all_trained += self._left - before
        step = trainer.global_step
        row_ends = step != self._step and self._row_ends(trainer, step)
        self._step = step
        if row_ends or trainer.is_last_batch:
            values = self._values(trainer)
            if row_ends:
                self._write(trainer, values)

    def _skip_if_not_finite(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """All ranks see the same gradient, and so decide the same."""
        gradients = [p.grad for p in pl_module.net.parameters() if p.grad is not None]  # type: ignore[union-attr]
        before, self._statistics = self._statistics, []
        if torch.stack(torch._foreach_norm(gradients)).isfinite().all():
            return
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        # fp16's scale grows until gradients overflow; above 1 this is no sign of a divergence.
        self.skipped += scaler is None or scaler.get_scale() <= 1
        if self.skipped > self.budget:
            raise Diverged("the gradient is", trainer.global_step + 1, learning_rate(trainer))
        pl_module.zero_grad(set_to_none=True)  # optimizers leave parameters without gradient alone
        for buffer, value in zip(pl_module.net.buffers(), before, strict=True):  # type: ignore[union-attr]
            buffer.copy_(value)

    def _row_ends(self, trainer: L.Trainer, step: int) -> bool:
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        return step % max(every, 1) == 0

    def _values(self, trainer: L.Trainer) -> dict[str, float]:
        """Losses and norms so far, with one device sync. Raises `Diverged` on all ranks."""
        mean = torch.nanmean if self.nonfinite == "skip" else torch.mean
        losses = {name: mean(torch.stack(values)) for name, values in self._losses.items()}
        row = losses | self._norms
        means = trainer.strategy.reduce(torch.stack([*row.values()]), reduce_op="mean")
        values = dict(zip(row, means.tolist(), strict=True))
        if not isfinite(values["train/loss"]) and self.nonfinite == "stop":
            raise self._diverged(trainer)
        return values

    def _diverged(self, trainer: L.Trainer) -> Diverged:
        """Names the first step since the last row whose loss is not finite, on whichever rank."""
        n = len(self._batches)
        index = torch.stack([index for *_, index in self._batches])
        losses = torch.stack(self._losses["train/loss"][-n:])
        losses = trainer.strategy.all_gather(losses).view(-1, n)
        index = trainer.strategy.all_gather(index).view(len(losses), n, -1)
        bad = ~losses.isfinite()
        first = int(bad.any(dim=0).nonzero()[0])
        step, rate, _ = self._batches[first]
        samples = index[bad[:, first], first].flatten().tolist()
        return Diverged("the training loss is", step, rate, samples)

    def _write(self, trainer: L.Trainer, values: dict[str, float]) -> None:
        now = perf_counter()
        elapsed = max(now - self._started, 1e-9)
        values |= {
            "optim/lr": self._batches[-1][1],
            "perf/images_per_s": self._images / elapsed,
            "perf/data_wait": self._waited / elapsed,
        }
        log_row(trainer, values)
        self._losses, self._norms, self._batches = {}, {}, []
        self._waited, self._images, self._started = 0.0, 0, now

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """The losses [world, n] of an unfinished row. Raises `Diverged` where one is not finite."""
        if self._losses:
            self._values(trainer)
        checkpoint["unfinished_row"] = {
            name: trainer.strategy.all_gather(torch.stack(values)).view(trainer.world_size, -1)
            for name, values in self._losses.items()
        }

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        now = trainer.accumulate_grad_batches
        before = accumulated_batches(checkpoint, now)
        for name, losses in checkpoint.get("unfinished_row", {}).items():
            if now != before:  # a step counts once, in however many micro-batches
                losses = losses.unflatten(1, (-1, before)).mean(-1).repeat_interleave(now, dim=1)
            same_world = len(losses) == trainer.world_size
            own = losses[trainer.global_rank] if same_world else losses.mean(0)
            self._losses[name] = [*own.to(trainer.strategy.root_device)]

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped = state_dict["skipped"]

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Say which step's images a lack of memory met."""
        if self._batches and is_out_of_memory(exception):
            step, rate, index = self._batches[-1]
            samples = ", ".join(map(str, index.tolist()))
            exception.add_note(
                f"at step {step} (learning rate {rate:g}, training images {samples})"
            )


def _norms(module: L.LightningModule) -> dict[str, Tensor]:
    """Norm of the gradient of each child of the network."""
    norms = {}
    for stage, child in module.net.named_children():  # type: ignore[union-attr]
        gradients = [p.grad for p in child.parameters() if p.grad is not None]
        if gradients:
            norms[stage] = torch.nn.utils.get_total_norm(gradients)
    return norms
