"""The config of a resumed run: its own, whatever the config files say today."""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict
from yaml import YAMLError

from deeper.config import overrides
from deeper.config.errors import ConfigError
from deeper.files import replacement

MAY_CHANGE = (
    "trainer", "precision", "logger", "callbacks", "paths", "epochs", "test", "compile", "trust",
    "data.root", "data.workers", "data.eval_batch_size", "data.stage_to",
)  # fmt: skip
"""Keys that a resumed run may change, with all keys below them: hardware, paths, duration."""

CONFIG = "config.yaml"
"""The config of the last accepted start. Hydra's copy is written before a start is accepted."""


def resumed_config(cfg: DictConfig, run: Path) -> DictConfig:
    """The run's stored config with the changes that the command line asks for.

    Raises `ConfigError` for changes that are not allowed.
    """
    stored = _stored_config(run)
    with open_dict(stored):
        for key, removed in _changes():
            before, after = OmegaConf.select(stored, key), OmegaConf.select(cfg, key)
            if removed and after is None:
                holder, _, name = key.rpartition(".")
                OmegaConf.select(stored, holder).pop(name, None)
            else:
                OmegaConf.update(stored, key, after, merge=False)
            if before != after and not OmegaConf.is_config(after):
                print(f"resume: {key} {before} → {after}")
        stored.resume = cfg.resume
    return stored


def save_config(cfg: DictConfig, run: Path) -> None:
    """Store the config from which a later `resume=` starts."""
    with replacement(run / CONFIG) as temporary:
        # `name` is resolved now: it comes from the command line, which says less at a resume.
        OmegaConf.save(OmegaConf.merge(cfg, {"name": cfg.name}), temporary)


def _stored_config(run: Path) -> DictConfig:
    path = run / CONFIG
    if not path.exists():
        raise ValueError(f"{run}: holds no {CONFIG}; the run ended before it began")
    try:
        stored = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: damaged ({reason}); restore it or start a new run") from error
    if not isinstance(stored, DictConfig):
        raise ValueError(f"{path}: not a config; restore it or start a new run")
    return stored


def _changes() -> Iterator[tuple[str, bool]]:
    """Config keys that the command line names besides `resume`, and whether it removes them."""
    refused = []
    for override in overrides.task_overrides():
        key = overrides.key_of(override).replace("/", ".")
        if key == "resume":
            continue
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in MAY_CHANGE):
            refused.append(
                f"a resumed run keeps its config, so {override} can't be changed now "
                f"({', '.join(MAY_CHANGE)} can); start a new run without resume"
            )
        yield key, override.startswith("~")
    if refused:
        raise ConfigError(refused)
