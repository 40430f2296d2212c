"""The end of a run: the best weights, the test set read once, a table."""

from pathlib import Path
from typing import Any

import lightning as L
from rich.console import Console
from rich.table import Table

from deeper import checkpoint, runs
from deeper.callbacks.checkpoint import Checkpoint
from deeper.data.datamodule import ImageData
from deeper.training.module import ImageClassifier


def after_training(
    cfg: Any, run: Path, trainer: L.Trainer, module: ImageClassifier, data: ImageData
) -> dict[str, float]:
    """Metrics of the best checkpoint: val/… as they were when it was written, test/… read now."""
    kept = next((c for c in trainer.callbacks if isinstance(c, Checkpoint)), None)  # type: ignore[attr-defined]
    if kept is None or not (run / runs.BEST).exists():
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    else:
        found = dict(kept.best_metrics)
        best = checkpoint.load(run / runs.BEST)
        module.net.load_state_dict(checkpoint.network_state(best))
    if cfg.test:
        trainer.test(module, data, verbose=False)
        found |= {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("test/")
        }
    if trainer.is_global_zero:
        show(found, title=str(run.name))
    return found


def objective(cfg: Any, results: dict[str, float]) -> float:
    """What a search maximises or minimises. Raises `ValueError` where it was never measured."""
    if cfg.objective not in results:
        known = ", ".join(sorted(results))
        raise ValueError(f"objective={cfg.objective}: not among the results; they are {known}")
    return results[cfg.objective]


def show(found: dict[str, float], title: str) -> None:
    """A row a split: images, top-1, top-5, loss."""
    table = Table(title=title, title_justify="left")
    for column in ("split", "images", "top-1 %", "top-5 %", "loss"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split in ("val", "test"):
        if f"{split}/top1" in found:
            table.add_row(
                split,
                f"{found[f'{split}/n']:,.0f}",
                f"{found[f'{split}/top1']:.2%}".rstrip("%"),
                f"{found[f'{split}/top5']:.2%}".rstrip("%"),
                f"{found[f'{split}/loss']:.4f}",
            )
    Console().print(table)
