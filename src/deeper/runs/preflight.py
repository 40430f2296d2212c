"""A look at everything that a long run needs, in about a minute, before it starts."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import lightning as L
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from deeper.callbacks.duration import duration, speed
from deeper.checkpoint import AtomicCheckpointIO, load_checkpoint, network_state, save_checkpoint
from deeper.data.batch import Batch
from deeper.data.datamodule import ImageData
from deeper.files import gigabytes
from deeper.models.geometry import relative_work
from deeper.runs import build, directory, record
from deeper.runs.provenance import host_memory
from deeper.runs.run import Run
from deeper.training.module import ImageClassifier

LONG_S = 3600
"""Estimated seconds from which on `preflight=auto` looks at everything."""

SHORT_IMAGES = 100_000
"""Images over all epochs below which `auto` measures nothing: an hour at 28 images/s."""

SECONDS = 10.0
"""Time for each measurement."""


def preflight(run: Run, data: ImageData, module: ImageClassifier, trainer: L.Trainer) -> None:
    """Print speed, limits, time, memory and disk, as `preflight=` says; ends the program for `only`.

    Raises `ValueError` for what would end the run later. A resumed run has been looked at before.
    """
    cfg = run.config
    images = len(data.splits.train) * cfg.trainer.max_epochs
    alone = OmegaConf.is_missing(HydraConfig.get().job, "num")  # no job of a multirun
    worth_it = images >= SHORT_IMAGES and alone and run.checkpoint is None
    if cfg.preflight == "off" or (cfg.preflight == "auto" and not worth_it):
        return
    if record.is_main_process():
        _preflight(run, data, module, trainer, images)
    if cfg.preflight == "only":
        directory.discard_refused()  # there is no run
        sys.exit(0)


def _preflight(
    run: Run, data: ImageData, module: ImageClassifier, trainer: L.Trainer, images: int
) -> None:
    cfg, device = run.config, trainer.strategy.root_device
    batch = next(iter(data.train_dataloader()))
    try:
        network, memory = _network_speed(module, batch, device, trainer)
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"batch_size={cfg.batch_size}: {len(batch.images)} images at a time do not fit the memory "
            f"of {device}; pass trainer.accumulate_grad_batches=2 or more, or a smaller batch_size"
        ) from error
    share, scale = images / trainer.world_size, module.initial_scale
    if cfg.preflight == "auto" and share * relative_work(scale, 0, 1) / network < LONG_S:
        return
    loader = _loader_speed(data)
    limit = "the network" if network < loader else "the loader (data.workers=, or packed images)"
    seconds = share * sum(
        max(relative_work(scale, part / 10, (part + 1) / 10) / network, 0.1 / loader)
        for part in range(10)  # images may grow, so that the limit changes
    )
    size = _round_trip(run, module, batch.images[:8])
    per_class = np.bincount(data.splits.train.labels, minlength=len(data.classes))
    for line in (
        f"labels    {len(per_class)} classes of {per_class.min():,} to {per_class.max():,} training images",
        f"network   {speed(network, 1)} a process, {len(batch.images)} images at a time",
        f"loader    {speed(loader, 1)} a process; what limits is {limit}",
        f"memory    {gigabytes(memory)} at its peak on {device}",
        f"time      about {duration(seconds)} for {cfg.trainer.max_epochs} epochs, without validation",
        f"disk      up to {gigabytes(size)} for the checkpoints",
        "logits    equal after saving and loading",
    ):
        print(f"preflight {line}", flush=True)


def _network_speed(
    module: ImageClassifier, batch: Batch, device: torch.device, trainer: L.Trainer
) -> tuple[float, int]:
    """Images/s of forward and backward passes of one process, and bytes of memory at their peak.

    The optimizer's own state comes on top. Weights and statistics are as before.
    """
    net = module.to(device).train()
    before = [buffer.clone() for buffer in net.buffers()]
    images, labels = batch.images.to(device), batch.labels.to(device)
    count, start = 0, 0.0
    while not count or time.monotonic() - start < SECONDS / 2:
        with trainer.precision_plugin.forward_context():
            targets = module.mix(images, labels, module.num_classes, seed=0)
            loss = module.loss(module(targets[0]), targets[1])["loss"]
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = start or time.monotonic()  # the first pass warms caches, and compiles
        count += 1
    rate = (count - 1) * len(images) / max(time.monotonic() - start, 1e-9)
    net.zero_grad()
    for buffer, value in zip(net.buffers(), before, strict=True):
        buffer.copy_(value)
    return rate, _peak_memory(device)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return host_memory()


def _loader_speed(data: ImageData) -> float:
    """Images/s of one process's loader; each of them is decoded, so a bad one is named."""
    began = time.monotonic()
    batches: Iterator[Batch] = iter(data.train_dataloader())
    first = len(next(batches).images)
    start, count = time.monotonic(), 0
    for batch in islice(batches, 10_000):
        count += len(batch.images)
        if time.monotonic() - start > SECONDS:
            break
    # An epoch of one batch has only the one in which workers start.
    return count / (time.monotonic() - start) if count else first / (start - began)


def _round_trip(run: Run, module: ImageClassifier, images: torch.Tensor) -> int:
    """Save, load, and compare the logits; bytes that the checkpoints of this run will take."""
    path = run.directory / "checkpoints" / "preflight.ckpt"
    save_checkpoint({"state_dict": module.state_dict(), "deeper": module.checkpoint_metadata}, path)
    try:
        with torch.no_grad():
            expected = module.eval()(images.to(module.device)).logits
            again = build.classifier(run.config, module.checkpoint_metadata["classes"])
            build.use_kernels(run.config, again.net)
            again.net.load_state_dict(network_state(load_checkpoint(path), "live"))
            found = again.to(module.device).eval()(images.to(module.device)).logits
        size = path.stat().st_size
    finally:
        module.train()
        AtomicCheckpointIO().remove_checkpoint(path)
        with suppress(OSError):  # a resumed run has checkpoints there
            path.parent.rmdir()
    if not torch.equal(expected, found):
        raise ValueError("preflight: a network that is saved and loaded gives other logits")
    # last, previous, best and one that is being written; with averages and the optimizer's state.
    needed, free = 4 * 4 * size, shutil.disk_usage(run.directory).free
    if needed > free:
        raise ValueError(
            f"{run.directory}: the checkpoints need up to {gigabytes(needed)}, and {gigabytes(free)} are free; "
            f"make room, or pass paths.logs=<another disk>"
        )
    return needed
