"""Builds the objects of a run from a checked config, for training, evaluation and notebooks."""

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
from deeper.callbacks.lease import LeaseGuard
from deeper.checkpoint import AtomicCheckpointIO, contents
from deeper.config import instantiate
from deeper.config.secrets import without_secrets
from deeper.data.datamodule import ImageData
from deeper.loggers.jsonl import MetricsFile
from deeper.loggers.mirror import mirrors
from deeper.models.cpu import layers
from deeper.models.sizes import accept_sizes
from deeper.runs.lease import Lease
from deeper.training.memory import keep_freed_memory
from deeper.training.module import ImageClassifier
from deeper.training.precision import Precision, accelerator_for, resolved_precision
from deeper.training.silence import silence_lightning


def data(cfg: Any) -> ImageData:
    """The data module with its splits; missing or wrong images are refused before a network is built."""
    module: ImageData = instantiate.build(
        cfg.data,
        augment=instantiate.build(cfg.augment),
        protocol=instantiate.build(cfg.protocol),
        seed=cfg.data_seed,
    )
    module.prepare_data()
    module.setup()
    return module


def network(cfg: Any, classes: Sequence[str]) -> nn.Module:
    """The network alone. Networks that draw from torch's generator follow `init_seed` too."""
    torch.manual_seed(cfg.init_seed)
    net: nn.Module = instantiate.build(cfg.model, num_classes=len(classes))
    accept_sizes(net, cfg.data)
    if cfg.channels_last:
        net = net.to(memory_format=torch.channels_last)
    if cfg.compile:
        net.compile()  # in place: torch.compile(net) would rename every key of the checkpoint
    return net


def use_kernels(cfg: Any, net: nn.Module) -> None:
    """Let `net` use the faster layers for a CPU, where `kernels` is true and they can be compiled."""
    if not cfg.get("kernels") or cfg.compile or accelerator(cfg) != "cpu":
        return
    try:
        layers.use_kernels(net, Path(cfg.paths.cache).expanduser() / "kernels")
    except OSError as error:
        rank_zero_only(print)(f"kernels=true: computing with torch's layers, as {error}")


def classifier(cfg: Any, classes: Sequence[str], test_images: str | None = None) -> ImageClassifier:
    """The LightningModule: network, preprocessing, loss, optimizer and scheduler."""
    return ImageClassifier(
        network(cfg, classes),
        instantiate.build(cfg.preprocess),
        instantiate.build(cfg.loss),
        instantiate.build(cfg.optimizer),
        instantiate.without_hydra_check(instantiate.build(cfg.scheduler)),
        seed=cfg.seed,
        checkpoint_metadata=contents(
            without_secrets(instantiate.resolved(cfg)), [*classes], test_images
        ),
        mix=instantiate.build(cfg.mix),
        metrics=instantiate.build(cfg.get("metrics") or {}),
        initial_scale=cfg.data.get("initial_scale", 1.0),
    )


def accelerator(cfg: Any) -> Literal["cpu", "cuda"]:
    return accelerator_for(cfg.trainer.get("accelerator"))


def precision(cfg: Any) -> Precision:
    """The precision that the config's name stands for on this machine, applied to torch."""
    chosen = resolved_precision(cfg.precision, accelerator(cfg))
    chosen.apply()
    return chosen


def trainer(cfg: Any, run: Path, lease: Lease | None = None) -> L.Trainer:
    """The trainer, which writes metrics.jsonl, checkpoints and the loggers' files below `run`.

    With a `lease`, nothing is written any more once it is lost.
    """
    silence_lightning()
    if accelerator(cfg) == "cpu":
        keep_freed_memory()
    guards = [LeaseGuard(lease)] if lease else []  # before all others
    callbacks = [*guards, *instantiate.build(cfg.get("callbacks", {})).values()]
    if cfg.get("averaging"):
        callbacks.append(instantiate.build(cfg.averaging))
    callbacks.sort(key=lambda callback: isinstance(callback, Checkpoint))  # it saves the others
    chosen = precision(cfg)
    rank_zero_only(print)(f"precision {chosen.name} ({chosen.reason})")
    built: L.Trainer = instantiate.build(
        cfg.trainer,
        accelerator=accelerator(cfg),
        precision=chosen.plugin,
        callbacks=callbacks,
        logger=[MetricsFile(run), *mirrors(instantiate.build(cfg.get("logger", {})), run)],
        plugins=_plugins(),
    )
    return built


def _plugins() -> list[Any]:
    """Lightning's requeueing under SLURM is off: its checkpoint would be taken for the best."""
    slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [AtomicCheckpointIO(), *([SLURMEnvironment(auto_requeue=False)] if slurm else [])]
