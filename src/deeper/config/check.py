"""All that is wrong with a composed config, at once, before any data is touched."""

from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, InterpolationResolutionError

from deeper.config import choices, experiments, signatures, targets
from deeper.config.refusals import ConfigError, own_words


def check(cfg: DictConfig, config_name: str = "train") -> None:
    """Raise `ConfigError` with every problem that can be seen without reading data."""
    overrides = choices.task_overrides()
    found = experiments.problems(config_name, overrides)
    found += [f"{key}: required; pass {key}=<value>" for key in _missing(cfg)]
    found = found or _scale_problems(cfg)
    if not found:
        plain = resolved(cfg)
        found += targets.refused(plain)
        if not found:
            found += signatures.problems(plain)
            found += hardware_problems(plain)
            found += _range_problems(cfg, {line.partition(".")[0] for line in found})
    if found:
        raise ConfigError(list(dict.fromkeys(found)))


def check_eval(cfg: DictConfig) -> None:
    """As `check`, for the few keys that an evaluation has of its own."""
    plain = resolved(cfg)
    found = targets.refused(plain) or signatures.problems(plain) + hardware_problems(plain)
    if found:
        raise ConfigError(found)


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Plain dict, list, str, numbers: what a checkpoint carries."""
    plain = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    if not isinstance(plain, dict):
        raise TypeError("the root of a config is a mapping")
    return {str(key): value for key, value in plain.items()}


def build(node: Any, **arguments: Any) -> Any:
    """The object that a config node describes; its `_target_`s must be trusted."""
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if lines := targets.refused(plain):
        raise ConfigError(lines)
    return instantiate(plain, _convert_="all", **arguments)


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
    gpu = torch.cuda.is_available() and trainer.get("accelerator") != "cpu"
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


def _range_problems(cfg: DictConfig, ill: set[str]) -> list[str]:
    """What constructors refuse, by building what is cheap to build; weights stay on the meta device."""
    parts = ["preprocess", "loss", "precision", "averaging", "augment", "protocol", "model"]
    lines = []
    for part in parts:
        node = OmegaConf.select(cfg, part)
        if part in ill or node is None:
            continue
        needs_classes = part == "model"
        try:
            with torch.device("meta"):
                build(node, **({"num_classes": 10} if needs_classes else {}))
        except Exception as error:
            if (reason := own_words(error)) is None:
                continue  # a user's network that dislikes the meta device is built for real later
            lines.append(f"{part}: {reason}")
    return lines
