"""Going on with a run: its own config is the truth, whatever the config files say today."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from deeper.checkpoint import load
from deeper.config import overrides as choices
from deeper.config.errors import ConfigError
from deeper.config.instantiate import resolved
from deeper.files import replacement
from deeper.runs import directory as runs
from deeper.runs import record
from deeper.runs.identity import identity

MAY_CHANGE = (
    "trainer", "precision", "logger", "callbacks", "paths", "epochs", "test", "compile",
    "data.root", "data.workers", "data.eval_batch_size", "data.stage_to",
)  # fmt: skip
"""Where, with what and how long a run computes; keys below these may change too."""

CONFIG = "config.yaml"
"""Of the last start, in the run's directory. Hydra's own copy is written before a run is accepted."""


def continued(cfg: DictConfig, run: Path) -> DictConfig:
    """`cfg` itself for a new run; for `resume=`, the run's config with what was asked to change."""
    if cfg.resume is None:
        return cfg
    stored = _config(run)
    with open_dict(stored):
        for key, removed in _asked():
            before, after = OmegaConf.select(stored, key), OmegaConf.select(cfg, key)
            if removed and after is None:
                holder, _, name = key.rpartition(".")
                OmegaConf.select(stored, holder).pop(name, None)
            else:
                OmegaConf.update(stored, key, after, merge=False)
            if before != after and not OmegaConf.is_config(after):
                print(f"resume: {key} {before} → {after}")
        stored.resume = cfg.resume
    done = load(runs.checkpoint(run, runs.LAST))["epoch"] + 1
    if stored.trainer.max_epochs < done:
        raise ConfigError(
            [f"epochs={stored.trainer.max_epochs}: the run has done {done} already; pass more"]
        )
    return stored


def keep(cfg: DictConfig, run: Path) -> None:
    """The run is accepted: from here on its directory stays, and `resume=` starts from this config."""
    runs.settle()
    if not record.is_main_process():
        return
    with replacement(run / CONFIG) as temporary:
        # Its name comes from the command line, which a resumed run says differently.
        OmegaConf.save(OmegaConf.merge(cfg, {"name": cfg.name}), temporary)


def _config(run: Path) -> DictConfig:
    if not (run / CONFIG).exists():
        raise ValueError(f"{run}: holds no {CONFIG}; the run ended before it began")
    stored = OmegaConf.load(run / CONFIG)
    if not isinstance(stored, DictConfig):
        raise ValueError(f"{run / CONFIG}: not a config")
    return stored


def _asked() -> Iterator[tuple[str, bool]]:
    """Config keys that the command line names besides `resume`, and whether it removes them."""
    refused = []
    for override in choices.task_overrides():
        key = override.partition("=")[0].lstrip("+~").partition("@")[0].replace("/", ".")
        if key == "resume":
            continue
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in MAY_CHANGE):
            refused.append(
                f"resume goes on with a run as it was, so {override} can't be changed now "
                f"({', '.join(MAY_CHANGE)} can); start a new run without resume"
            )
        yield key, override.startswith("~")
    if refused:
        raise ConfigError(refused)


def last(cfg: Any, run: Path) -> Path | None:
    """The checkpoint to start from; None for a new run."""
    return runs.checkpoint(run, runs.LAST) if cfg.resume else None


def facts(cfg: Any, fingerprint: str) -> dict[str, Any]:
    """What run.json says of a run besides where and how it went."""
    found = {"identity": identity(resolved(cfg)), "data": fingerprint}
    if cfg.resume:
        before = record.read(Path(cfg.resume).expanduser())["data"]
        if before != fingerprint:
            raise ValueError(
                f"{cfg.data.root}: not the images that {cfg.resume} was trained on (fingerprint "
                f"{fingerprint}, then {before}); pass data.root=<where they lie>, or start a new run"
            )
        return found
    overrides = choices.task_overrides()
    return found | {
        "overrides": overrides,
        "recipe": choices.recipe(overrides),
        "experiments": choices.experiments(overrides),
        "seed": cfg.seed,
    }
