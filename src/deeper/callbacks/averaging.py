"""Averages of the weights along training, judged in place of the live ones.

The average is a network of its own: evaluation runs it, nothing is swapped, so no checkpoint can
hold the two exchanged.
"""

from copy import deepcopy
from typing import Any, Literal

import lightning as L
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from deeper.training.module import ImageClassifier


class Averaging(L.Callback):
    """`polyak`: the mean of all iterates from the share `start` of the training on (§6).
    `ema`: an exponential mean with `decay`, faster while few steps were seen.

    Batch-norm statistics: an exponential mean is taken of them too. Those of a Polyak mean belong
    to weights that never trained, so they are estimated anew on `bn_batches` training batches
    before each evaluation; with `ema`, 0 batches means: keep the mean.
    """

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
            raise ValueError(f"start={start}: a share of the training, in 0..1 (1 excluded)")
        if bn_batches < 0:
            raise ValueError(f"bn_batches={bn_batches}: must be at least 0")
        self.kind, self.decay, self.start, self.bn_batches = kind, decay, start, bn_batches
        self.average: AveragedModel | None = None
        self._seen_step = -1

    def setup(self, trainer: L.Trainer, pl_module: ImageClassifier, stage: str) -> None:  # type: ignore[override]
        if self.average is None:
            update = self._lean if self.kind == "ema" else None
            self.average = AveragedModel(
                pl_module.net, multi_avg_fn=update, use_buffers=self.kind == "ema"
            )
            self.average.requires_grad_(False).eval()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._average.to(pl_module.device)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Progress of a resumed run is restored by now, which on_fit_start comes too early for."""
        self._seen_step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: ImageClassifier, *_: Any) -> None:  # type: ignore[override]
        if trainer.global_step == self._seen_step:  # gradients are still being accumulated
            return
        self._seen_step = trainer.global_step
        if pl_module.progress(trainer.global_step).fraction >= self.start:
            self._average.update_parameters(pl_module.net)

    def on_validation_start(self, trainer: L.Trainer, pl_module: ImageClassifier) -> None:  # type: ignore[override]
        if int(self._average.n_averaged) == 0:
            return
        if self.bn_batches:
            self._estimate_statistics(trainer, pl_module)
        pl_module.evaluate_with(self._average.module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: ImageClassifier) -> None:  # type: ignore[override]
        pl_module.evaluate_with(None)

    def on_test_start(self, trainer: L.Trainer, pl_module: ImageClassifier) -> None:  # type: ignore[override]
        self.on_validation_start(trainer, pl_module)

    def on_test_end(self, trainer: L.Trainer, pl_module: ImageClassifier) -> None:  # type: ignore[override]
        self.on_validation_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        n = int(self._average.n_averaged)
        if n:
            checkpoint["averaged_state_dict"] = self._average.module.state_dict()
        checkpoint["averaged_steps"] = n

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if state := checkpoint.get("averaged_state_dict"):
            self._average.module.load_state_dict(state)
        self._average.n_averaged.fill_(checkpoint.get("averaged_steps", 0))

    @property
    def _average(self) -> AveragedModel:
        assert self.average is not None, "setup() comes first"  # noqa: S101
        return self.average

    @torch.no_grad()
    def _lean(self, averages: Any, lives: Any, n: Any) -> None:
        """average ← decay·average + (1 − decay)·live; integers (batch counts) are copied."""
        decay = min(self.decay, (1 + int(n)) / (10 + int(n)))
        for average, live in zip(averages, lives, strict=True):
            if average.is_floating_point():
                average.lerp_(live, 1 - decay)
            else:
                average.copy_(live)

    @torch.no_grad()
    def _estimate_statistics(self, trainer: L.Trainer, pl_module: ImageClassifier) -> None:
        """Cumulative statistics over training batches, the same ones each time; averaged over ranks.

        Auxiliary heads don't run in evaluation, so their norms keep what they have.
        """
        net = self._average.module
        norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if not norms:
            return
        momenta = [norm.momentum for norm in norms]
        before = [deepcopy(norm.state_dict()) for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        for batch in trainer.datamodule.calibration_batches(self.bn_batches):  # type: ignore[attr-defined]
            with trainer.precision_plugin.forward_context():
                net(pl_module.preprocess(batch.images.to(pl_module.device)))
        for norm, momentum, state in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            norm.eval()
            if not norm.num_batches_tracked:
                norm.load_state_dict(state)
                continue
            for buffer in (norm.running_mean, norm.running_var):
                if buffer is not None:
                    buffer.copy_(trainer.strategy.reduce(buffer, reduce_op="mean"))
