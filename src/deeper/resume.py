"""Going on with a run: its own config is the truth, whatever the config files say today."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from deeper import runs
from deeper.config import choices
from deeper.config.check import resolved
from deeper.config.refusals import ConfigError

MAY_CHANGE = ("trainer", "precision", "logger", "callbacks", "paths")
"""Groups that say with what a run computes, and may differ after a restart."""


def continued(cfg: DictConfig, run: Path) -> DictConfig:
    """`cfg` itself for a new run; for `resume=`, the run's config with what was asked to change."""
    if cfg.resume is None:
        return cfg
    runs.find(str(run))
    runs.checkpoint(run, runs.LAST)
    stored = OmegaConf.load(run / ".hydra" / "config.yaml")
    if not isinstance(stored, DictConfig):
        raise ValueError(f"{run}/.hydra/config.yaml: not a config")
    with open_dict(stored):
        for key in _asked():
            before = OmegaConf.select(stored, key)
            after = OmegaConf.select(cfg, key)
            OmegaConf.update(stored, key, after, merge=False)
            if before != after and not OmegaConf.is_config(after):
                print(f"resume: {key} {before} → {after}")
        stored.resume = cfg.resume
    return stored


def _asked() -> Iterable[str]:
    """Config keys that the command line names besides `resume`."""
    groups = HydraConfig.get().runtime.choices
    for override in choices.task_overrides():
        key = override.partition("=")[0].lstrip("+~")
        if key == "resume":
            continue
        if key in groups and key not in MAY_CHANGE:
            raise ConfigError(
                [
                    f"resume goes on with a run as it was, so {override} can't be changed now "
                    f"({', '.join(MAY_CHANGE)} can); start a new run without resume"
                ]
            )
        yield key


def last(cfg: Any, run: Path) -> Path | None:
    """The checkpoint to start from; None for a new run."""
    return runs.checkpoint(run, runs.LAST) if cfg.resume else None


def facts(cfg: Any, fingerprint: str) -> dict[str, Any]:
    """What run.json says of a run besides where and how it went."""
    overrides = [o for o in choices.task_overrides() if not o.startswith("resume=")]
    found = {"identity": runs.identity(resolved(cfg)), "data": fingerprint}
    if cfg.resume:
        return found
    return found | {
        "overrides": overrides,
        "recipe": choices.recipe(overrides),
        "experiments": choices.experiments(overrides),
        "seed": cfg.seed,
    }
