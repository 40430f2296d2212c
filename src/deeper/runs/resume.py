"""The config of a resumed run: its own, whatever the config files say today."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from yaml import YAMLError

from deeper.config import overrides
from deeper.config.errors import ConfigError
from deeper.config.instantiate import verbatim
from deeper.config.secrets import without_secrets
from deeper.files import replacement

MAY_CHANGE = (
    "trainer", "precision", "logger", "callbacks", "paths", "epochs", "test", "compile", "kernels", "trust",
    "preflight", "sweep", "data.root", "data.workers", "data.eval_batch_size", "data.stage_to",
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
        for key in cfg.keys() - stored.keys():  # of a version that did not have it
            stored[key] = cfg[key]
        for key, removed in _changes():
            before, after = OmegaConf.select(stored, key), OmegaConf.select(cfg, key)
            if removed and after is None:
                holder, _, name = key.rpartition(".")
                OmegaConf.select(stored, holder).pop(name, None)
            else:
                OmegaConf.update(stored, key, after, merge=False)
            if before != after and not OmegaConf.is_config(after):
                change = without_secrets({key.rpartition(".")[2]: f"{before} → {after}"})
                print(f"resume: {key} {''.join(change.values())}")
        stored.resume = cfg.resume
    return stored


def save_config(cfg: DictConfig, run: Path) -> None:
    """Store the config from which a later `resume=` starts, with what foreign resolvers answer now."""
    raw, now = (OmegaConf.to_container(cfg, resolve=resolve) for resolve in (False, True))
    with replacement(run / CONFIG) as temporary:
        # `name` is resolved now: it comes from the command line, which says less at a resume.
        stored = _answered(raw, now) | {"name": cfg.name}
        OmegaConf.save(OmegaConf.create(without_secrets(stored)), temporary)


def _answered(raw: Any, now: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _answered(value, now[key]) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_answered(*values) for values in zip(raw, now, strict=True)]
    return verbatim(now) if _calls_foreign_resolver(raw) else raw


def _calls_foreign_resolver(value: Any) -> bool:
    """Whether a value refers to more than keys of the config and to what our config files refer to."""
    escaped = r"(?<!\\)(\\\\)*\\\$\{"
    ours = r"(?<=\$\{)(project:|auto_stem:|hydra:runtime\.output_dir)"
    rest = re.sub(f"{escaped}|{ours}", "", str(value))
    return "${" in rest and ":" in rest


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
    # A run that was received reads no environment variable.
    plain = OmegaConf.to_container(stored, resolve=False)
    return DictConfig(verbatim(plain, only=_calls_foreign_resolver))


def _changes() -> Iterator[tuple[str, bool]]:
    """Config keys that the command line names besides `resume`, and whether it removes them."""
    refused = []
    words = overrides.task_overrides()
    auto = "resume=auto" in words  # the run was found by what these words compute
    for override in words:
        key = overrides.key_of(override).replace("/", ".")
        if key == "resume":
            continue
        may_change = any(key == allowed or key.startswith(f"{allowed}.") for allowed in MAY_CHANGE)
        if auto and not may_change:
            continue
        if not may_change:
            refused.append(
                f"a resumed run keeps its config, so {override} can't be changed now "
                f"({', '.join(MAY_CHANGE)} can); start a new run without resume"
            )
        yield key, override.startswith("~")
    if refused:
        raise ConfigError(refused)
