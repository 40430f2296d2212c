"""The end of a training: its best weights, the test set read once, a table."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_only

from deeper import checkpoint
from deeper.callbacks.averaging import Averaging
from deeper.callbacks.checkpoint import Checkpoint
from deeper.data.datamodule import ImageData
from deeper.reporting.table import show
from deeper.runs.record import count_test_look
from deeper.training.module import ImageClassifier


def results(
    cfg: Any, run: Path, trainer: L.Trainer, module: ImageClassifier, data: ImageData
) -> dict[str, float]:
    """Metrics of the best checkpoint: val/… as they were when it was written, test/… read now.

    Without a checkpoint callback they are those of the last weights.
    """
    found = _restore_best(trainer, module) or _metrics(trainer)
    if cfg.test:
        trainer.test(module, data, verbose=False)
        found |= {name: value for name, value in _metrics(trainer).items() if "test/" in name}
        count_test_look(run)
    if trainer.is_global_zero:
        show(found, title=run.name)
    return found


def objective(cfg: Any, found: dict[str, float]) -> float | None:
    """What a search maximises or minimises; None where it was never measured."""
    if cfg.objective not in found:
        known = ", ".join(sorted(found)) or "none"
        rank_zero_only(print)(
            f"objective={cfg.objective} was not measured; the results are {known}"
        )
    return found.get(cfg.objective)


def _restore_best(trainer: L.Trainer, module: ImageClassifier) -> dict[str, float]:
    """What was known of the best weights, which the network has from here on; empty if none are kept."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    kept = next((c for c in callbacks if isinstance(c, Checkpoint)), None)
    if kept is None or not trainer.strategy.broadcast(kept.best_file.exists()):
        return {}
    module.net.load_state_dict(checkpoint.network_state(checkpoint.load(kept.best_file)))
    for averaging in [c for c in callbacks if isinstance(c, Averaging)]:
        callbacks.remove(averaging)  # it holds the last average, the network now holds the best
    return dict(kept.best_metrics)


def _metrics(trainer: L.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
