"""Writes checkpoints after each epoch, every few minutes, and when a signal asks the run to stop.

Lightning's own callback can leave a stale `last`, and acts on signals by a collective within their
handler. This one must be the trainer's last, so that a file has the state of all others.
"""

import signal
from contextlib import suppress
from math import inf, isnan
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import lightning as L
import torch

from deeper import checkpoint as checkpoints
from deeper import signals
from deeper.files import remove_temporary
from deeper.loggers import mirror
from deeper.loggers.jsonl import MetricsFile
from deeper.training.failures import Diverged, require_finite

STEPS_BETWEEN_AGREEMENTS = {"cpu": 1, "cuda": 10}
"""Several processes agree on a save by a collective, which on a GPU waits for the device."""

SAVE, STOP = 1, 2


class Checkpoint(L.Callback):
    """Writes last.ckpt, previous.ckpt (the one before) and best.ckpt to `folder`.

    `best.ckpt` has the validated weights whose `monitor` is the largest or smallest, as `mode` says;
    of equal values the lower val/loss is better, then the earlier epoch. With `keep_best=3` the next
    ones are best-2.ckpt and best-3.ckpt. Within an epoch `last` is written every `every_minutes`, and
    when a signal stops the run: a resumed run goes on from the step after. Weights that are not finite
    are never saved: they raise `Diverged`.
    """

    def __init__(
        self,
        folder: str,
        monitor: str = "val/top1",
        mode: Literal["maximize", "minimize"] = "maximize",
        every_minutes: float = 10.0,
        keep_best: int = 1,
    ) -> None:
        if every_minutes <= 0:
            raise ValueError(f"every_minutes={every_minutes}: must be above 0")
        if keep_best < 1:
            raise ValueError(f"keep_best={keep_best}: must be at least 1")
        self.folder, self.monitor, self.mode = Path(folder), monitor, mode
        self.every_minutes, self.keep_best = every_minutes, keep_best
        self.last, self.best_file = self.folder / "last.ckpt", self.folder / "best.ckpt"
        self._previous = self.folder / "previous.ckpt"
        self.best: list[dict[str, float]] = []
        """Of each best checkpoint, all metrics known when it was written, with its epoch (from 1)."""
        self._metrics_rows = self._metrics_step = 0
        self._validated = False
        self._step, self._saved_at = -1, monotonic()

    @property
    def best_metrics(self) -> dict[str, float]:
        return self.best[0] if self.best else {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Drop what killed processes left, and rows logged after the checkpoint."""
        if trainer.is_global_zero and trainer.global_step == 0:  # no second fit of one trainer
            if self.folder.exists():
                remove_temporary(self.folder)
            mirror.rewind(trainer.loggers, self._metrics_rows, self._metrics_step)
        # Lightning would tell all ranks of a SIGTERM by a collective in every step.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step, self._saved_at = trainer.global_step, monotonic()
        signals.install()  # Lightning has put its handlers around ours
        signals.defer(True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A signal that came while the last epoch was saved keeps the run from its test."""
        signals.defer(False)
        if _agreed(trainer, 0) == STOP:
            raise _stopped(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if trainer.global_step == self._step:  # gradients are still being accumulated
            return
        self._step = trainer.global_step
        if trainer.global_step % _agreement_interval(trainer) == 0 or trainer.is_last_batch:
            late = monotonic() - self._saved_at > 60 * self.every_minutes
            self._save_if_wanted(trainer, pl_module, SAVE if late and trainer.is_global_zero else 0)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:  # fmt: skip
        """A validation that was begun is run again by the resumed run."""
        in_training = trainer.state.fn == "fit" and not trainer.sanity_checking
        if in_training and batch_idx % _agreement_interval(trainer) == 0:
            self._save_if_wanted(trainer, pl_module)

    def _save_if_wanted(
        self, trainer: L.Trainer, pl_module: L.LightningModule, wanted: int = 0
    ) -> None:
        """Save, and stop where any process was asked to."""
        agreed = _agreed(trainer, wanted)
        if agreed:
            self._save_last(trainer, pl_module)
        if agreed == STOP:
            raise _stopped(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning runs the epoch's validation, if there is one, before this."""
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        found["epoch"] = trainer.current_epoch + 1
        place = self._place(found) if self._validated else self.keep_best
        self._validated = False
        if place == self.keep_best:
            self._save_last(trainer, pl_module)
            return
        # The best comes first: a run that is killed in between goes on from before it, to write it anew.
        require_finite(trainer, pl_module.net)  # type: ignore[arg-type]
        self.best = [*self.best[:place], found, *self.best[place:]][: self.keep_best]
        if trainer.is_global_zero:
            for rank in range(len(self.best) - 1, place, -1):
                checkpoints.move_checkpoint(self._best_file(rank - 1), self._best_file(rank))
        trainer.save_checkpoint(self._best_file(place), weights_only=False)
        if trainer.is_global_zero:
            checkpoints.copy_checkpoint(self._best_file(place), self.last, self._previous)
        self._saved_at = monotonic()
        trainer.strategy.barrier()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Save `last` when an unreadable image, or a worker that died, stops the training between steps.

        Only in a single process: with several, the others are in the midst of a step.
        """
        signals.defer(False)
        bad_data = isinstance(exception, ValueError) or "DataLoader worker" in str(exception)
        done = trainer.fit_loop.epoch_loop.batch_progress.current
        between = done.ready == done.completed and done.ready % trainer.accumulate_grad_batches == 0
        trains = trainer.training and trainer.global_step
        if bad_data and between and trains and trainer.world_size == 1:
            with suppress(Diverged):
                self._save_last(trainer, pl_module)

    def _save_last(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        require_finite(trainer, pl_module.net)  # type: ignore[arg-type]
        previous = {"previous": self._previous}
        trainer.save_checkpoint(self.last, weights_only=False, storage_options=previous)
        self._saved_at = monotonic()

    def _best_file(self, place: int) -> Path:
        return self.best_file if place == 0 else self.folder / f"best-{place + 1}.ckpt"

    def _place(self, found: dict[str, float]) -> int:
        """Place of these metrics among the best; `keep_best` where they are not among them."""
        if self.monitor not in found:
            known = ", ".join(sorted(found)) or "none"
            raise ValueError(
                f"callbacks.checkpoint.monitor={self.monitor}: not logged; known: {known}"
            )
        if isnan(found[self.monitor]):
            return self.keep_best
        place = sum(self._rank(found) <= self._rank(better) for better in self.best)
        return min(place, self.keep_best)

    def _rank(self, metrics: dict[str, float]) -> tuple[float, float]:
        """Larger is better."""
        sign = 1 if self.mode == "maximize" else -1
        return sign * metrics[self.monitor], -metrics.get("val/loss", inf)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Counts the rows of metrics.jsonl, which are on the disk before the checkpoint is.

        Where an epoch's steps are done, Lightning is told that its validation has not begun: it
        would take a save after the last step for the end of the epoch, and skip the validation.
        """
        files = [
            x for x in trainer.loggers if isinstance(x, MetricsFile) and trainer.is_global_zero
        ]
        checkpoint["metrics_rows"] = sum(file.sync() for file in files)
        loops = checkpoint["loops"]["fit_loop"]
        steps = loops["epoch_loop.batch_progress"]
        epoch = loops["epoch_progress"]["current"]
        if steps["is_last_batch"] and epoch["processed"] < epoch["started"]:
            for progress in (steps["current"], steps["total"]):
                progress["completed"] = progress["processed"]
            begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            validation = loops["epoch_loop.val_loop.batch_progress"]
            validation |= {"total": dict(begun), "current": dict(begun), "is_last_batch": False}

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._metrics_rows = checkpoint["metrics_rows"]
        self._metrics_step = checkpoint["global_step"]
        now = trainer.accumulate_grad_batches
        before = checkpoints.accumulated_batches(checkpoint, now)
        if now == before:
            return
        if trainer.limit_train_batches not in (None, 1.0):  # which counts micro-batches
            raise ValueError(
                f"trainer.accumulate_grad_batches={now}: was {before}, and cannot change in a run with "
                f"trainer.limit_train_batches; leave it as it was"
            )
        # Lightning counts micro-batches, of which a step has another number now.
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["current"], progress["total"]):
            done = counts["processed"] * now // before
            not_yet = counts["processed"] - counts["completed"]
            counts |= dict.fromkeys(counts, done) | {"completed": done - not_yet}

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


def _agreement_interval(trainer: L.Trainer) -> int:
    """Steps, or batches of a validation, between two looks at what all processes were asked to do."""
    if trainer.world_size == 1:
        return 1
    return STEPS_BETWEEN_AGREEMENTS[trainer.strategy.root_device.type]


def _agreed(trainer: L.Trainer, wanted: int) -> int:
    """What any process wants, or was asked to by a signal; all of them call this at the same point."""
    wanted = STOP if signals.received() else wanted
    if trainer.world_size > 1:
        asked = torch.tensor(wanted, device=trainer.strategy.root_device)
        wanted = int(trainer.strategy.reduce(asked, reduce_op="max"))
    return wanted


def _stopped(trainer: L.Trainer) -> signals.Stopped:
    """Another process may have got the signal."""
    return signals.Stopped(signals.received() or signal.SIGTERM, trainer.global_step)
