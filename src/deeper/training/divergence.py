"""The error of a training whose loss or weights are no longer finite."""

from collections.abc import Sequence

import lightning as L
import torch
from torch import nn

from deeper.training.optimizers import learning_rate

SHOWN = 64


class Diverged(Exception):
    """Ends the run with exit status 1 and `status` in run.json; checkpoints stay as they were.

    `step` counts optimizer steps from 1, `lr` is the rate of that step, `samples` are the
    `Batch.index` of the micro-batches whose loss was not finite (empty where no batch is at fault).
    """

    status = "diverged"
    exit_status = 1

    def __init__(self, what: str, step: int, lr: float, samples: Sequence[int] = ()) -> None:
        super().__init__(what, step, lr, samples)  # all of them, so that it can be pickled
        self.what, self.step, self.lr, self.samples = what, step, lr, list(samples)

    def __str__(self) -> str:
        more = ", …" if len(self.samples) > SHOWN else ""
        shown = ", ".join(map(str, self.samples[:SHOWN]))
        images = f", training images {shown}{more}" if self.samples else ""
        return (
            f"{self.what} not finite at step {self.step} (learning rate {self.lr:g}"
            f"{images}); earlier checkpoints are kept. Try a lower optimizer.lr, or "
            f"trainer.gradient_clip_val=1"
        )


def require_finite(trainer: L.Trainer, net: nn.Module) -> None:
    """Raise `Diverged` on all ranks where a weight or a statistic of any rank is not finite."""
    tensors = [t for t in net.state_dict().values() if t.is_floating_point()]
    finite = not tensors or bool(torch.stack([t.isfinite().all() for t in tensors]).all())
    if not trainer.strategy.reduce_boolean_decision(finite, all=True):
        raise Diverged("the weights are", trainer.global_step, learning_rate(trainer))
