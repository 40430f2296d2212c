"""All that is wrong with a composed config, at once, before any data is touched."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, InterpolationResolutionError
from torch import nn

from deeper.config import experiments, signatures
from deeper.config import overrides as choices
from deeper.config import trusted as targets
from deeper.config.errors import ConfigError, own_words
from deeper.config.instantiate import build, resolved
from deeper.config.schema import strangers
from deeper.models.geometry import feature_sizes
from deeper.training.loss import training_loss
from deeper.training.metrics import collection
from deeper.training.optimizers import make_optimizer
from deeper.training.precision import accelerator_for
from deeper.training.schedules import Progress


def check(cfg: DictConfig) -> None:
    """Raise `ConfigError` with every problem that can be seen without reading data."""
    found = strangers(cfg) + experiments.problems(choices.task_overrides())
    found += [f"{key}: required; pass {key}=<value>" for key in _missing(cfg)]
    found = found or _scale_problems(cfg)
    if not found:
        plain = resolved(cfg)
        found = targets.refused(plain) or [
            *signatures.problems(plain),
            *_not_objects(plain),
            *hardware_problems(plain),
            *_contradictions(plain),
        ]
        if not targets.refused(plain):
            found += _range_problems(cfg, {line.partition(".")[0] for line in found})
    if found:
        raise ConfigError(list(dict.fromkeys(found)))


def check_eval(cfg: DictConfig) -> None:
    """As `check`, for the few keys that an evaluation has of its own."""
    plain = resolved(cfg)
    found = targets.refused(plain) or signatures.problems(plain) + hardware_problems(plain)
    if found:
        raise ConfigError(found)


def check_predict(cfg: DictConfig) -> None:
    """As `check`, for a prediction."""
    found = [
        f"{key}={cfg[key]}: must be at least 1" for key in ("top", "batch_size") if cfg[key] < 1
    ]
    precision = {"precision": OmegaConf.to_container(cfg.precision, resolve=True)}
    found += targets.refused(precision) or signatures.problems(precision)
    if not cfg.files:
        found.append("say which pictures: files, folders, globs, or - for a list on standard input")
    if cfg.zero and "-" not in cfg.files:
        found.append("zero=true: says how standard input is split; pass - too")
    if found:
        raise ConfigError(found)


def check_bench(cfg: DictConfig) -> None:
    """As `check`, for a benchmark."""
    found = [f"{key}: required; pass {key}=<value>" for key in _missing(cfg)]
    found += [
        f"{key}={cfg[key]}: must be at least {least}"
        for key, least in {"images": 1, "rounds": 1, "workers": 0}.items()
        if cfg[key] is not None and cfg[key] < least
    ]
    if found:
        raise ConfigError(found)


def _missing(cfg: DictConfig) -> list[str]:
    """Keys still at ???, found without following the interpolations that lead to them."""
    return [key for key, value in experiments.flat(cfg).items() if value == "???"]


def _scale_problems(cfg: DictConfig) -> list[str]:
    """Values that lead nowhere: most often a recipe without a row for this size of data."""
    try:
        OmegaConf.to_container(cfg, resolve=True)
    except (InterpolationKeyError, InterpolationResolutionError) as error:
        scales = OmegaConf.select(cfg, "scales")
        scale = OmegaConf.select(cfg, "data.scale")
        if scales is not None and scale not in scales:
            overrides = choices.task_overrides()
            return [
                f"recipe={choices.recipe(overrides)} has no row for data of scale {scale!r} "
                f"(it has {', '.join(scales)}); choose another recipe, or data.scale={next(iter(scales), '?')}"
            ]
        return [str(error).splitlines()[0]]
    return []


def hardware_problems(config: dict[str, Any]) -> list[str]:
    """What this machine, or this many processes, cannot do."""
    trainer, lines = config["trainer"], []
    gpu = accelerator_for(trainer.get("accelerator")) == "cuda"
    name = config["precision"].get("name")
    if not gpu and trainer.get("accelerator") in ("gpu", "cuda"):
        lines.append("trainer: no CUDA GPU here; use trainer=cpu, trainer=ddp_cpu or trainer=auto")
    if not gpu and name in ("fp16", "tf32"):
        lines.append(
            f"precision: {name} needs a CUDA GPU; on CPU these work: "
            f"precision=fp32, precision=bf16, precision=auto"
        )
    if not gpu and trainer.get("sync_batchnorm"):
        lines.append(
            "trainer.sync_batchnorm: needs CUDA GPUs; on CPU leave it false "
            "(each process keeps statistics of its own)"
        )
    return lines


def _not_objects(config: dict[str, Any]) -> Iterator[str]:
    """Entries of the lists that hold objects alone."""
    for group in ("callbacks", "logger", "metrics"):
        for name, node in config[group].items():
            if not isinstance(node, Mapping) or "_target_" not in node:
                yield f"{group}.{name}: has no _target_; remove it with ~{group}.{name}"


def _contradictions(config: dict[str, Any]) -> Iterator[str]:
    """Keys that are well by themselves and wrong together."""
    if config["objective"].endswith("loss") and config["direction"] == "maximize":
        yield (
            f"objective={config['objective']} is better when it is lower: pass direction=minimize too"
        )
    weights, aux = config["loss"].get("aux_weight"), config["model"].get("aux")
    if isinstance(weights, Mapping) and "_target_" not in weights and isinstance(aux, Mapping):
        # A weight for a head that an experiment took away is no mistake; a misspelt tap is.
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


def _range_problems(cfg: DictConfig, ill: set[str]) -> list[str]:
    """What constructors refuse, by building what is cheap to build; weights stay on the meta device."""
    lines = []
    for part, attempt in _attempts(cfg).items():
        if part in ill or OmegaConf.select(cfg, part) is None:
            continue
        try:
            with torch.device("meta"):
                attempt()
        except Exception as error:
            if (reason := own_words(error)) is None:
                continue  # a user's network that dislikes the meta device is built for real later
            lines.append(f"{part}: {reason}")
    return lines


def _attempts(cfg: DictConfig) -> dict[str, Callable[[], Any]]:
    """Data is only described here: its images are looked for when nothing else is wrong."""
    simple = ("preprocess", "precision", "averaging", "augment", "mix", "protocol")
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
