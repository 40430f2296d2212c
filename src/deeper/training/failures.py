"""Failures that end a training: what is no longer finite, lack of memory, a process that is gone."""

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


class OutOfMemory(Exception):
    """A training that met a lack of memory; earlier checkpoints are whole."""

    status = "out of memory"
    exit_status = 1


class ProcessLost(Exception):
    """A process of a training over several that ended, or stopped answering."""

    exit_status = 1


def explained(error: BaseException) -> Exception | None:
    """The same failure in the user's words; None for a crash, which keeps its traceback."""
    words = str(error)
    reason = f"({(words.splitlines() or [type(error).__name__])[0]})"
    where = " ".join(getattr(error, "__notes__", []))
    if "DataLoader worker (pid" in words:
        return OutOfMemory(
            f"a worker process of the loader was killed, by lack of memory most likely {reason}; "
            f"continue with resume=<run directory> data.workers=<fewer>"
        )
    if is_out_of_memory(error):
        return OutOfMemory(
            f"out of memory {where} {reason}; pass a smaller batch_size, or "
            f"trainer.accumulate_grad_batches=2 or more"
        )
    if isinstance(error, RuntimeError) and any(sign in words for sign in LOST):
        return ProcessLost(
            f"another process of this training ended or does not answer {reason}; its checkpoints "
            f"are whole: continue with resume=<run directory>"
        )
    return None


LOST = ("Timed out waiting", "Connection closed by peer", "Connection reset by peer", "NCCL error")
"""What the errors of collectives say whose other side is gone."""


def is_out_of_memory(error: BaseException) -> bool:
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)
