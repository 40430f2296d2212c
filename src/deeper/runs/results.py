"""The end of a training: the best weights, the test, a table."""

from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from deeper.callbacks.averaging import Averaging
from deeper.callbacks.checkpoint import Checkpoint
from deeper.callbacks.meter import Meter
from deeper.checkpoint import load_checkpoint, network_state
from deeper.data.datamodule import ImageData
from deeper.files import whole
from deeper.models.summary import costs
from deeper.runs.provenance import host_memory
from deeper.runs.record import OUTCOMES, count_test_look, is_main_process
from deeper.runs.run import Run
from deeper.table import show_accuracy
from deeper.training.module import ImageClassifier

WAITS = 0.1
"""Fraction of the time from which on a faster loader would be worth the trouble."""


def restore_best(trainer: L.Trainer, module: ImageClassifier) -> dict[str, float]:
    """Load the best weights into the network; the metrics that were known when they were saved.

    Without a checkpoint callback the last weights stay, and the metrics are theirs.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    kept = next((c for c in callbacks if isinstance(c, Checkpoint)), None)
    if kept is None or not trainer.strategy.broadcast(kept.best_file.exists()):
        return _metrics(trainer)
    module.net.load_state_dict(network_state(load_checkpoint(kept.best_file)))
    for averaging in [c for c in callbacks if isinstance(c, Averaging)]:
        # It would evaluate the last average in place of the best weights.
        callbacks.remove(averaging)
    return dict(kept.best_metrics)


def test(
    run: Run, trainer: L.Trainer, module: ImageClassifier, data: ImageData
) -> dict[str, float]:
    """test/… of the network as it is; run.json counts the look at the test set."""
    trainer.test(module, data, verbose=False)
    count_test_look(run.directory)
    if is_main_process() and module.test_outcomes is not None:
        label, predicted, rank, nll = module.test_outcomes.numpy()
        with whole(run.directory / OUTCOMES) as path, path.open("wb") as file:
            np.savez_compressed(
                file, label=label.astype(np.uint16), predicted=predicted.astype(np.uint16),
                rank=rank.astype(np.uint8), nll=nll.clip(max=6e4).astype(np.float16),
                classes=np.array(data.classes),
            )  # fmt: skip
    return {name: value for name, value in _metrics(trainer).items() if "test/" in name}


@rank_zero_only
def show_results(run: Run, metrics: dict[str, float]) -> None:
    show_accuracy(metrics, title=run.directory.name)


@rank_zero_only
def show_bottleneck(trainer: L.Trainer) -> dict[str, float]:
    """data_wait of the whole training, which is said in words; nothing without a `Meter`."""
    meter = next((c for c in trainer.callbacks if isinstance(c, Meter)), None)  # type: ignore[attr-defined]
    if meter is None:
        return {}
    loader = trainer.train_dataloader
    limit = WAITS if loader and loader.num_workers else 0.5  # in one process they take turns
    slower = "loader" if meter.data_wait > limit else "network"
    share = f"{meter.data_wait:.0%} of the training time was spent waiting for images"
    print(f"data: {share}; the {slower} is the bottleneck")
    return {"data_wait": meter.data_wait}


def facts(trainer: L.Trainer, module: ImageClassifier, data: ImageData) -> dict[str, Any]:
    """What the network costs and what the training took of the machine, for run.json."""
    on_gpu = module.device.type == "cuda"
    return {
        "classes": len(data.classes),
        "costs": costs(module.net, data.image_size, data.eval_size),
        "processes": trainer.world_size,
        "threads": torch.get_num_threads(),
        "peak_memory": {
            "host_mb": round(host_memory() / 1e6),
            "gpu_mb": round(torch.cuda.max_memory_allocated() / 1e6) if on_gpu else None,
        },
    }


def show_finished(run: Run) -> float | None:
    """Say again what a finished run found; nothing is computed, and no look at the test set counted."""
    assert run.finished is not None  # noqa: S101
    print(f"{run.directory}: has finished already; resume={run.directory} epochs=<more> trains on")
    show_results(run, run.finished.get("results", {}))
    found: float | None = run.finished.get("objective")
    return found


def objective(cfg: Any, metrics: dict[str, float]) -> float | None:
    """The metric that a search optimizes; None where it was not measured."""
    if cfg.objective not in metrics:
        known = ", ".join(sorted(metrics)) or "none"
        rank_zero_only(print)(f"objective={cfg.objective} was not measured; measured: {known}")
    return metrics.get(cfg.objective)


def _metrics(trainer: L.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
