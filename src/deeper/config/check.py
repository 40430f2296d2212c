"""Finds everything that is wrong with a composed config, at once, before any data is read."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from deeper.config import (
    experiments,
    overrides,
    parsed_signatures,
    schema,
    signatures,
    trusted,
    values,
)
from deeper.config.errors import require_none, suggestion
from deeper.config.instantiate import build, resolved
from deeper.training.precision import accelerator_for


def check(cfg: DictConfig) -> None:
    """Raise `ConfigError` with every problem of a training; print what is only doubtful.

    A later check needs what the ones before it have found right. The last ones import torch and
    Lightning, which takes seconds; all that can be said without them is said before.
    """
    words = overrides.task_overrides()
    require_none(
        overrides.misused_overrides(words),
        schema.unknown_keys(cfg),
        experiments.misplaced_experiments(words),
        missing_keys(cfg),
        _missing_row(cfg, overrides.recipe(words)),
    )
    plain = resolved(cfg)
    require_none(
        parsed_signatures.wrong_arguments(plain),
        _not_objects(plain),
        values.impossible_values(plain),
    )
    _require_root(cfg)
    require_none(trusted.untrusted_targets(plain))
    from deeper.config.constructors import refused_by_constructors

    found = [*signatures.wrong_arguments(plain), *values.missing_hardware(plain)]
    ill = {line.partition(".")[0] for line in found}
    require_none(found, refused_by_constructors(cfg, ill))
    if not overrides.is_multirun() and int(os.environ.get("LOCAL_RANK", 0)) == 0:
        for line in doubtful_settings(cfg, words):
            print(line)  # a log would leave a file behind where the run is refused later


def check_eval(cfg: DictConfig) -> None:
    """Raise `ConfigError` with every problem of an evaluation."""
    plain = resolved(cfg)
    signatures.require_buildable(plain)
    require_none(values.missing_hardware(plain))


def check_predict(cfg: DictConfig) -> None:
    """Raise `ConfigError` with every problem of a prediction."""
    found = [*values.too_small(1, top=cfg.top, batch_size=cfg.batch_size)]
    if not cfg.files:
        found.append("say which images: files, folders, globs, or - for a list on standard input")
    if cfg.zero and "-" not in cfg.files:
        found.append("zero=true: says how standard input is split; pass - too")
    require_none(found)


def check_prepare(cfg: DictConfig) -> None:
    """Raise `ConfigError` with every problem of a preparation."""
    found = [
        *missing_keys(cfg),
        *values.too_small(1, size=cfg.size, quality=cfg.quality),
        *values.too_small(0, workers=cfg.workers),
    ]
    if cfg.data.limit is not None:
        found.append(f"data.limit={cfg.data.limit}: prepare opens every image; leave it out")
    if cfg.pack != (cfg.out is not None):
        found.append("pack=true and out=<a folder for the packed form> need one another")
    for key, word in (("size", "original"), ("workers", "auto")):
        if not isinstance(cfg[key], int) and cfg[key] != word:
            found.append(f"{key}={cfg[key]}: must be {word} or an integer")
    require_none(found)
    source = OmegaConf.to_container(cfg.data.source, resolve=True)
    signatures.require_buildable({"data": {"source": source}})


BENCHMARKS = (
    "limits", "step", "inference", "lrn", "overhead", "checkpoint", "startup",
    "loading", "end_to_end", "evaluation", "training", "scaling",
)  # fmt: skip
NEED_PHOTOS = ("loading", "end_to_end", "evaluation", "scaling")


def check_bench(cfg: DictConfig) -> list[str]:
    """The benchmarks asked for. Raises `ConfigError` with every problem.

    `all` is what has its photos, without `scaling`, and with the whole training only on a GPU, as
    these take minutes.
    """
    what = [*cfg.what] if OmegaConf.is_list(cfg.what) else [cfg.what]
    asked, known = [str(word) for word in what] or ["[]"], ("all", *BENCHMARKS)
    accelerator = accelerator_for(cfg.device.value)
    numbers = {key: cfg[key] for key in ("batch_size", "images", "rounds")}
    require_none(
        [f"what={w}: no such benchmark{suggestion(w, known)}" for w in asked if w not in known],
        [
            f"data.root: required for what={word}; pass data.root=<value>"
            for word in asked
            if word in NEED_PHOTOS and cfg.data.root is None
        ],
        values.too_small(1, **numbers),
        values.too_small(0, workers=cfg.workers),
        values.too_small(32, size=cfg.size),
        ["device=cuda: no CUDA GPU here; pass device=cpu or device=auto"]
        if (cfg.device.value, accelerator) == ("cuda", "cpu")
        else values.missing_precision(cfg.precision.value, accelerator),
    )
    if "all" not in asked:
        return [word for word in BENCHMARKS if word in asked]
    left_out = ["scaling"] if cfg.data.root else [*NEED_PHOTOS]
    if accelerator == "cpu":
        left_out.append("training")
    return [word for word in BENCHMARKS if word not in left_out or word in asked]


def missing_keys(cfg: DictConfig) -> Iterator[str]:
    """A line for each required key without a value. Interpolations that lead to it are not followed."""
    for key, value in experiments.leaves(cfg).items():
        if value == "???":
            yield f"{key}: required; pass {key}=<value>"


def _missing_row(cfg: DictConfig, recipe: str) -> Iterator[str]:
    """A recipe may have no length, batch size and learning rate for data of this scale."""
    scales, scale = cfg.get("scales") or {}, OmegaConf.select(cfg, "data.scale")
    needed = any(OmegaConf.is_interpolation(cfg, key) for key in ("epochs", "batch_size", "lr"))
    if needed and scale not in scales:
        yield (
            f"recipe={recipe} has no row for data of scale {scale!r} (it has {', '.join(scales)}); "
            f"choose another recipe, or pass epochs=, batch_size= and lr="
        )


def _require_root(cfg: DictConfig) -> None:
    """Raise `ValueError` for a data.root without images. Sources that are not ours need longer imports."""
    if cfg.data.root and cfg.data.source._target_.startswith("deeper.data.sources."):
        from deeper.data.sources.folder import Folder

        source = build(cfg.data.source)(root=cfg.data.root, cache=cfg.data.cache)
        if isinstance(source, Folder):
            source.require_root()


def _not_objects(config: dict[str, Any]) -> Iterator[str]:
    """Entries without a `_target_` in the lists of objects."""
    for group in ("callbacks", "logger", "metrics"):
        for name, node in config[group].items():
            if not isinstance(node, Mapping) or "_target_" not in node:
                yield f"{group}.{name}: has no _target_; remove it with ~{group}.{name}"


def doubtful_settings(cfg: DictConfig, words: list[str]) -> Iterator[str]:
    """What works, but perhaps not as it was meant."""
    chosen = {overrides.key_of(word) for word in words} | {*cfg.requires}
    if "trainer.max_epochs" in chosen and (length := cfg.trainer.max_epochs) != cfg.epochs:
        yield (
            f"trainer.max_epochs={length}: schedules are still those of epochs={cfg.epochs}; pass "
            f"epochs={length} to change them too"
        )
    own_rate = {"lr", "optimizer.lr"} & chosen or cfg.optimizer.get("lr") != cfg.lr
    if {"optimizer", "model/norm"} & chosen and not own_rate:
        yield (
            f"lr={cfg.lr:g}: recipe={overrides.recipe(words)} chose this rate for its own optimizer "
            f"and norm; pass lr=<rate> for another"
        )
    devices, cores = cfg.trainer.get("devices"), os.cpu_count() or 1
    on_cpu = accelerator_for(cfg.trainer.get("accelerator")) == "cpu"
    if on_cpu and isinstance(devices, int) and devices > cores:
        yield f"trainer.devices={devices}: the processes share {cores} CPU cores"
