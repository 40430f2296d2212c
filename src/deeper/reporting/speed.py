"""Training speed of the arms of a report, measured alone on this machine.

The rates that runs logged are those of machines that did other things beside.
"""

from collections.abc import Mapping
from functools import partial
from statistics import median
from typing import Any

import lightning as L

from deeper.benchmarks.setting import noise
from deeper.benchmarks.step import training_step
from deeper.benchmarks.timing import Contest, seconds
from deeper.config import signatures, stored
from deeper.reporting.runs import StoredRun
from deeper.runs import build
from deeper.training.silence import silence_lightning

ROUNDS = 5


def images_per_second(arms: Mapping[str, StoredRun], cache: str) -> dict[str, float]:
    """Arm → images/s of a training step, all arms in turns, the median of `ROUNDS` rounds.

    Batches of the run's size, of noise in memory. Raises `ConfigError` for a config that may not be built.
    """
    silence_lightning()
    contest = Contest("training", {arm: _step(run, cache) for arm, run in arms.items()}, "images/s")
    taken = seconds(contest, ROUNDS)
    return {arm: run.config["data"]["batch_size"] / median(taken[arm]) for arm, run in arms.items()}


def _step(run: StoredRun, cache: str) -> Any:
    config = run.config | {"paths": {"cache": cache}}
    parts = ("model", "preprocess", "loss", "optimizer", "scheduler", "mix")
    signatures.require_buildable({key: config[key] for key in parts})
    cfg = stored.as_config(config)
    module = build.classifier(cfg, [str(number) for number in range(run.record["classes"])])
    build.use_kernels(cfg, module.net)
    chosen, device = build.precision(cfg), build.accelerator(cfg)
    module.trainer = L.Trainer(
        barebones=True, accelerator=device, devices=1, max_epochs=1,
        precision=chosen.plugin,  # type: ignore[arg-type]
    )  # fmt: skip
    batch = noise(cfg.data.batch_size, cfg.data.image_size, module.num_classes, device)
    return partial(training_step(module.to(device)), batch)
