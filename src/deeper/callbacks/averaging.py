"""Averages of the weights along training, evaluated in place of the live weights.

The averaged network is a copy of the live one: evaluation runs it and nothing is swapped, so no
checkpoint can hold the two exchanged.
"""

from copy import deepcopy
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor, nn

from deeper.training.module import ImageClassifier


class Averaging(L.Callback):
    """`polyak`: the mean of the weights after each step from the fraction `start` of training (§6).
    `ema`: an exponential mean with `decay`, faster while few steps were averaged.

    Batch-norm statistics: `ema` averages them like the weights, on rank 0. A Polyak mean is
    a network that never trained, so its statistics are estimated on `bn_batches` training batches
    before each evaluation. A checkpoint says in "averaged_statistics" whether those it holds are
    "current" or "stale" (saved after steps without an evaluation, or never estimated).
    """

    average: nn.Module
    """The averaged network, up to date at each evaluation and in each checkpoint."""

    def __init__(
        self,
        kind: Literal["polyak", "ema"] = "ema",
        decay: float = 0.9999,
        start: float = 0.0,
        bn_batches: int = 0,
    ) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: must lie in 0..1 (1 excluded)")
        if not 0 <= start < 1:
            raise ValueError(f"start={start}: a fraction of the training, in 0..1 (1 excluded)")
        if bn_batches < 0:
            raise ValueError(f"bn_batches={bn_batches}: must be at least 0")
        self.kind, self.decay, self.start, self.bn_batches = kind, decay, start, bn_batches
        self.steps = 0
        """Steps averaged so far."""
        self._sums: list[Tensor] = []
        self._fresh_at = self._estimated_at = -1
        self._seen_step = -1
        self._pair: tuple[list[Tensor], list[Tensor]] | None = None
        """Tensors of the average and of the live network: to walk both takes longer than to average."""

    def setup(self, trainer: L.Trainer, pl_module: ImageClassifier, stage: str) -> None:  # type: ignore[override]
        if not hasattr(self, "average"):
            self.average = deepcopy(pl_module.net).requires_grad_(False).eval()
            if self.kind == "polyak":
                # A float32 mean stops moving once a step adds less than half a unit in the last place.
                parameters = self.average.parameters()
                self._sums = [torch.zeros_like(p, dtype=torch.float64) for p in parameters]

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.average.to(pl_module.device)
        self._sums = [total.to(pl_module.device) for total in self._sums]
        self._pair = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the step of a resumed run, which is not yet restored in on_fit_start."""
        self._seen_step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: ImageClassifier, *_: Any) -> None:  # type: ignore[override]
        if trainer.global_step == self._seen_step:  # gradients are still being accumulated
            return
        self._seen_step = trainer.global_step
        if pl_module.progress(trainer.global_step).fraction >= self.start:
            self.update(pl_module.net)

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Average one more step's network, which is the same one in each step."""
        averaged, live = self._pair = self._pair or self._tensors(net)
        if self.kind == "polyak":
            torch._foreach_add_(averaged, live)
        else:
            n = self.steps
            decay = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
            torch._foreach_lerp_(averaged, live, 1 - decay)
        self.steps += 1

    def _tensors(self, net: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        if self.kind == "polyak":
            return self._sums, [*net.parameters()]
        averaged, live = (
            [t for t in (*n.parameters(), *n.buffers()) if t.is_floating_point()]
            for n in (self.average, net)
        )
        return averaged, live

    def on_validation_start(self, trainer: L.Trainer, pl_module: ImageClassifier) -> None:  # type: ignore[override]
        if self.steps == 0:
            return
        self._refresh(trainer, pl_module)
        if self.bn_batches and self._estimated_at != self.steps:
            self._estimate_statistics(trainer, pl_module)
            self._estimated_at = self.steps
        pl_module.set_evaluation_network(self.average)

    def on_validation_end(self, trainer: L.Trainer, pl_module: ImageClassifier) -> None:  # type: ignore[override]
        pl_module.set_evaluation_network(None)

    on_test_start, on_test_end = on_validation_start, on_validation_end  # type: ignore[assignment]

    def on_save_checkpoint(  # type: ignore[override]
        self, trainer: L.Trainer, pl_module: ImageClassifier, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["averaged_steps"] = self.steps
        if self.steps == 0:
            return
        self._refresh(trainer, pl_module)
        checkpoint["averaged_state_dict"] = self.average.state_dict()
        checkpoint["averaged_statistics"] = "current" if self._current() else "stale"
        if self._sums:
            checkpoint["averaged_sums"] = self._sums

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.steps = checkpoint.get("averaged_steps", 0)
        if self.steps:
            self.average.load_state_dict(checkpoint["averaged_state_dict"])
            self._sums = checkpoint.get("averaged_sums", [])
            self._fresh_at = self.steps
            if checkpoint["averaged_statistics"] == "current":
                self._estimated_at = self.steps

    @torch.no_grad()
    def _refresh(self, trainer: L.Trainer, pl_module: ImageClassifier) -> None:
        """Bring `average` up to date, and make it the same on all ranks."""
        if self._fresh_at == self.steps:
            return
        self._fresh_at = self.steps
        if self.kind == "polyak":
            for weight, total in zip(self.average.parameters(), self._sums, strict=True):
                weight.copy_(total / self.steps)
        for buffer, live in zip(self.average.buffers(), pl_module.net.buffers(), strict=True):
            if self.kind == "polyak" or not buffer.is_floating_point():  # ema averages the others
                buffer.copy_(live)
        # Each rank's statistics are of its own batches. Rank 0's are in the checkpoint, so that they
        # count for all: a mean over ranks would make a training depend on when it is saved.
        theirs = trainer.strategy.broadcast([b.cpu() for b in self.average.buffers()])
        for buffer, of_rank_0 in zip(self.average.buffers(), theirs, strict=True):
            buffer.copy_(of_rank_0)

    def _current(self) -> bool:
        """Whether the batch-norm statistics of `average` belong to its weights."""
        averaged = self.kind == "ema" and not self.bn_batches
        return averaged or self._estimated_at == self.steps or not _norms(self.average)

    @torch.no_grad()
    def _estimate_statistics(self, trainer: L.Trainer, pl_module: ImageClassifier) -> None:
        """Cumulative statistics over training batches, the same ones each time; averaged over ranks.

        Auxiliary heads don't run in evaluation, so their norms keep what they have.
        """
        norms = _norms(self.average)
        momenta = [norm.momentum for norm in norms]
        before = [deepcopy(norm.state_dict()) for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        batches = trainer.datamodule.calibration_batches(self.bn_batches) if norms else ()  # type: ignore[attr-defined]
        for batch in batches:
            with trainer.precision_plugin.forward_context():
                self.average(pl_module.preprocess(batch.images.to(pl_module.device)))
        for norm, momentum, state in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            norm.eval()
            if not norm.num_batches_tracked:
                norm.load_state_dict(state)
                continue
            for buffer in (norm.running_mean, norm.running_var):
                if buffer is not None:
                    buffer.copy_(trainer.strategy.reduce(buffer, reduce_op="mean"))


def _norms(net: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
