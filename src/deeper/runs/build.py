"""From a checked config to the objects of a run, the same for training, evaluation and notebooks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from deeper.callbacks.checkpoint import Checkpoint
from deeper.checkpoint import AtomicCheckpointIO, contents
from deeper.config.instantiate import build, resolved
from deeper.data.datamodule import ImageData
from deeper.loggers.jsonl import MetricsFile
from deeper.training import silence  # noqa: F401
from deeper.training.module import ImageClassifier
from deeper.training.precision import ResolvedPrecision, accelerator_for


def data(cfg: Any) -> ImageData:
    """Indexed: missing or mistaken images are said now, before a network is built."""
    module: ImageData = build(
        cfg.data,
        augment=build(cfg.augment),
        protocol=build(cfg.protocol),
        seed=cfg.data_seed,
    )
    module.prepare_data()
    module.setup()
    return module


def network(cfg: Any, classes: Sequence[str]) -> nn.Module:
    """`init_seed` fixes the weights of networks that draw from torch's own generator, too."""
    torch.manual_seed(cfg.init_seed)
    net: nn.Module = build(cfg.model, num_classes=len(classes))
    if cfg.channels_last:
        net = net.to(memory_format=torch.channels_last)
    if cfg.compile:
        net.compile()  # in place: torch.compile(net) would rename every key of the checkpoint
    return net


def classifier(cfg: Any, classes: Sequence[str]) -> ImageClassifier:
    return ImageClassifier(
        network(cfg, classes),
        build(cfg.preprocess),
        build(cfg.loss),
        build(cfg.optimizer),
        build(cfg.scheduler),
        seed=cfg.seed,
        checkpoint_metadata=contents(resolved(cfg), [*classes]),
        mix=build(cfg.get("mix")),  # older checkpoints have none
        metrics=build(cfg.get("metrics") or {}),
    )


def accelerator(cfg: Any) -> Literal["cpu", "cuda"]:
    return accelerator_for(cfg.trainer.get("accelerator"))


def precision(cfg: Any) -> ResolvedPrecision:
    resolved: ResolvedPrecision = build(cfg.precision).resolve(accelerator(cfg))
    resolved.apply()
    return resolved


def _plugins() -> list[Any]:
    """Lightning's own requeueing under SLURM writes a checkpoint that `test` would take for the best."""
    slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [AtomicCheckpointIO(), *([SLURMEnvironment(auto_requeue=False)] if slurm else [])]


def trainer(cfg: Any, run: Path) -> L.Trainer:
    """`run` gets metrics.jsonl, checkpoints and whatever loggers write."""
    callbacks = [*build(cfg.get("callbacks", {})).values()]
    if cfg.get("averaging"):
        callbacks.append(build(cfg.averaging))
    callbacks.sort(key=lambda callback: isinstance(callback, Checkpoint))  # it saves the others
    chosen = precision(cfg)
    rank_zero_only(print)(f"precision {chosen.name} ({chosen.reason})")
    built: L.Trainer = build(
        cfg.trainer,
        accelerator=accelerator(cfg),
        precision=chosen.plugin,
        callbacks=callbacks,
        logger=[MetricsFile(run), *build(cfg.get("logger", {})).values()],
        plugins=_plugins(),
    )
    return built
