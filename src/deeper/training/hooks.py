"""Takes out of Lightning's training step what it does for hooks that nobody wrote."""

from contextlib import nullcontext
from typing import Any

import lightning as L
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature

OF_A_STEP = (
    "on_train_batch_start", "on_train_batch_end", "on_before_zero_grad", "on_before_backward",
    "on_after_backward", "on_before_optimizer_step",
)  # fmt: skip


class NoProfiler(PassThroughProfiler):
    """Makes no context manager around each hook, of which a step has about 55."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self._nothing


def skip_empty_hooks(trainer: Any, module: L.LightningModule) -> None:
    """To be called when a fit starts. Hooks that somebody has written are called as before."""
    for callback in trainer.callbacks:
        _skip(callback, L.Callback)
    _skip(module, L.LightningModule)
    if type(trainer.profiler) is PassThroughProfiler:
        trainer.profiler = NoProfiler()
    # Lightning (2.6) looks at the signature of training_step in every step.
    if is_param_in_hook_signature(module.training_step, "batch_idx", min_args=2):
        trainer.fit_loop.epoch_loop._build_kwargs = lambda kwargs, batch, batch_idx: {
            "batch": batch,
            "batch_idx": batch_idx,
        }


def _skip(owner: Any, base: type) -> None:
    for hook in OF_A_STEP:
        inherited = getattr(type(owner), hook) is getattr(base, hook)
        if inherited and hook not in vars(owner):  # LambdaCallback's are attributes of the object
            setattr(owner, hook, None)  # Lightning passes over what it cannot call
