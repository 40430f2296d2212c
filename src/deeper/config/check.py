"""Finds everything that is wrong with a composed config, at once, before any data is read."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, InterpolationResolutionError
from torch import nn

from deeper.config import experiments, overrides, ranges, signatures, trusted
from deeper.config.errors import ConfigError, user_error
from deeper.config.instantiate import build, resolved
from deeper.config.schema import unknown_keys
from deeper.models.geometry import feature_sizes
from deeper.training.loss import training_loss
from deeper.training.metrics import collection
from deeper.training.optimizers import make_optimizer
from deeper.training.precision import accelerator_for
from deeper.training.schedules import Progress


def check(cfg: DictConfig) -> None:
    """Raise `ConfigError` with every problem of a training; print what is only doubtful."""
    words = overrides.task_overrides()
    refuse(overrides.problems(words, experiments.options))
    refuse(unknown_keys(cfg) + experiments.problems(words) + missing_keys(cfg))
    refuse(_unresolved(cfg))
    plain = resolved(cfg)
    refuse(trusted.refused(plain))
    found = [
        *signatures.problems(plain),
        *_not_objects(plain),
        *hardware_problems(plain),
        *_contradictions(plain),
        *ranges.problems(plain),
    ]
    refuse(found + _refused_by_constructors(cfg, {line.partition(".")[0] for line in found}))
    if not overrides.is_multirun() and int(os.environ.get("LOCAL_RANK", 0)) == 0:
        for line in [*experiments.learning_rate_notes(cfg, words), *_hardware_notes(plain)]:
            print(line)  # a log would leave a file behind where the run is refused later


def check_eval(cfg: DictConfig) -> None:
    """Raise `ConfigError` with every problem of an evaluation."""
    plain = resolved(cfg)
    refuse(trusted.refused(plain) or signatures.problems(plain) + hardware_problems(plain))


def check_predict(cfg: DictConfig) -> None:
    """Raise `ConfigError` with every problem of a prediction."""
    found = [*ranges.too_small(cfg, {"top": 1, "batch_size": 1})]
    if not cfg.files:
        found.append("say which images: files, folders, globs, or - for a list on standard input")
    if cfg.zero and "-" not in cfg.files:
        found.append("zero=true: says how standard input is split; pass - too")
    refuse(found)


def check_prepare(cfg: DictConfig) -> None:
    """Raise `ConfigError` with every problem of a preparation."""
    least = {"size": 1, "quality": 1, "workers": 0}
    found = [*missing_keys(cfg), *ranges.too_small(cfg, least)]
    if cfg.data.limit is not None:
        found.append(f"data.limit={cfg.data.limit}: prepare opens every image; leave it out")
    if cfg.pack != (cfg.out is not None):
        found.append("pack=true and out=<a folder for the packed form> need one another")
    for key, word in (("size", "original"), ("workers", "auto")):
        if not isinstance(cfg[key], int) and cfg[key] != word:
            found.append(f"{key}={cfg[key]}: must be {word} or an integer")
    refuse(found)
    source = {"data": {"source": OmegaConf.to_container(cfg.data.source, resolve=True)}}
    refuse(trusted.refused(source) or signatures.problems(source))


def check_bench(cfg: DictConfig) -> None:
    """Raise `ConfigError` with every problem of a benchmark."""
    least = {"images": 1, "rounds": 1, "workers": 0}
    refuse([*missing_keys(cfg), *ranges.too_small(cfg, least)])


def refuse(problems: list[str]) -> None:
    """Raise `ConfigError` if there are any."""
    if problems:
        raise ConfigError(problems)


def missing_keys(cfg: DictConfig) -> list[str]:
    """A line for each required key without a value. Interpolations that lead to it are not followed."""
    missing = [key for key, value in experiments.flat(cfg).items() if value == "???"]
    return [f"{key}: required; pass {key}=<value>" for key in missing]


def _unresolved(cfg: DictConfig) -> list[str]:
    """Interpolations that lead nowhere: most often a recipe without a row for this size of data."""
    try:
        OmegaConf.to_container(cfg, resolve=True)
    except (InterpolationKeyError, InterpolationResolutionError) as error:
        scales, scale = cfg.get("scales"), OmegaConf.select(cfg, "data.scale")
        if scales is None or scale in scales:
            return [str(error).splitlines()[0]]
        return [
            f"recipe={overrides.recipe(overrides.task_overrides())} has no row for data of scale "
            f"{scale!r} (it has {', '.join(scales)}); choose another recipe, or "
            f"data.scale={next(iter(scales), '?')}, or pass epochs=, batch_size= and lr="
        ]
    return []


def hardware_problems(config: dict[str, Any]) -> list[str]:
    """What this machine cannot do."""
    trainer, precision, lines = config["trainer"], config["precision"], []
    if accelerator_for(trainer.get("accelerator")) == "cuda":
        return []
    if trainer.get("accelerator") in ("gpu", "cuda"):
        lines.append("trainer: no CUDA GPU here; use trainer=cpu, trainer=ddp_cpu or trainer=auto")
    if precision in ("fp16", "tf32"):
        lines.append(
            f"precision={precision} needs a CUDA GPU; on CPU these work: "
            f"precision=fp32, precision=bf16, precision=auto"
        )
    if trainer.get("sync_batchnorm"):
        lines.append(
            "trainer.sync_batchnorm: needs CUDA GPUs; on CPU leave it false "
            "(each process keeps statistics of its own)"
        )
    return lines


def _hardware_notes(config: dict[str, Any]) -> Iterator[str]:
    """More processes than cores work, slowly."""
    trainer, cores = config["trainer"], os.cpu_count() or 1
    devices = trainer.get("devices")
    on_cpu = accelerator_for(trainer.get("accelerator")) == "cpu"
    if on_cpu and isinstance(devices, int) and devices > cores:
        yield f"trainer.devices={devices}: the processes share {cores} CPU cores"


def _not_objects(config: dict[str, Any]) -> Iterator[str]:
    """Entries without a `_target_` in the lists of objects."""
    for group in ("callbacks", "logger", "metrics"):
        for name, node in config[group].items():
            if not isinstance(node, Mapping) or "_target_" not in node:
                yield f"{group}.{name}: has no _target_; remove it with ~{group}.{name}"


def _contradictions(config: dict[str, Any]) -> Iterator[str]:
    """Keys that are valid by themselves and wrong together."""
    if config["objective"].endswith("loss") and config["direction"] == "maximize":
        yield (
            f"objective={config['objective']} is better when it is lower: pass direction=minimize too"
        )
    weights, aux = config["loss"].get("aux_weight"), config["model"].get("aux")
    if isinstance(weights, Mapping) and "_target_" not in weights and isinstance(aux, Mapping):
        # A weight for a head that an experiment removed is no mistake; a misspelt tap is.
        stages = {*aux, *feature_sizes(224, "imagenet")}
        yield from (
            f"loss.aux_weight.{tap}: no stage has this name" + signatures.suggestion(tap, aux)
            for tap in weights
            if tap not in stages
        )
        yield from (
            f"loss.aux_weight: has no weight for the head at {tap}"
            for tap in aux
            if tap not in weights
        )


def _refused_by_constructors(cfg: DictConfig, ill: set[str]) -> list[str]:
    """What constructors refuse, found by building on the meta device; parts in `ill` are left out."""
    lines = []
    for part, attempt in _attempts(cfg).items():
        if part in ill or OmegaConf.select(cfg, part) is None:
            continue
        try:
            with torch.device("meta"):
                attempt()
        except Exception as error:
            reason = user_error(error)
            if reason is not None:  # else a network that the meta device does not suit
                lines.append(f"{part}: {reason}")
    return lines


def _attempts(cfg: DictConfig) -> dict[str, Callable[[], Any]]:
    """Data is only described here: its images are looked for when nothing else is wrong."""
    simple = ("preprocess", "averaging", "augment", "mix", "protocol")
    return {part: lambda part=part: build(cfg[part]) for part in simple} | {
        "model": lambda: build(cfg.model, num_classes=10),
        "metrics": lambda: collection(build(cfg.metrics), 10),
        "loss": lambda: training_loss(build(cfg.loss), build(cfg.mix)),
        "optimizer": lambda: make_optimizer(build(cfg.optimizer), nn.Linear(1, 1)),
        "scheduler": lambda: build(cfg.scheduler)(Progress(0, 0, cfg.epochs)),
        "data": lambda: build(
            cfg.data, augment=build(cfg.augment), protocol=build(cfg.protocol), seed=cfg.data_seed
        ),
    }
