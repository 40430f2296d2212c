"""Guards in Hydra: it builds only trusted targets of its own node, and writes no secret."""

from typing import Any
from weakref import WeakKeyDictionary

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core import utils
from omegaconf import DictConfig, OmegaConf

from deeper.config.compositions import Compositions
from deeper.config.errors import require_none
from deeper.config.secrets import without_secrets
from deeper.config.trusted import untrusted_targets

BUILT = ("callbacks", "launcher", "sweeper", "hydra_logging", "job_logging")
"""Keys of Hydra's node from which it builds objects."""

STREAMS = ("ext://sys.stdout", "ext://sys.stderr")

_load_configuration, _load_job, _save_config = (
    ConfigLoaderImpl.load_configuration,
    ConfigLoaderImpl.load_sweep_config,
    utils._save_config,
)


def guard_hydra() -> None:
    """Check every config that Hydra composes or writes from now on.

    `load_configuration` makes the config of each run, sweep and job, and it returns before Hydra
    builds log handlers, callbacks, sweeper and launcher.
    """
    ConfigLoaderImpl.load_configuration = _checked_configuration  # type: ignore[assignment,method-assign]
    ConfigLoaderImpl.load_sweep_config = _job_config  # type: ignore[assignment,method-assign]
    utils._save_config = _save_without_secrets  # type: ignore[assignment]


def _checked_configuration(loader: ConfigLoaderImpl, *args: Any, **options: Any) -> Any:
    cfg = _load_configuration(loader, *args, **options)
    cfg.hydra.runtime.output_dir = "."  # not known yet, and part of the names of log files
    built = {
        key: OmegaConf.to_container(cfg.hydra[key], resolve=True)
        for key in BUILT
        if cfg.hydra.get(key)
    }
    cfg.hydra.runtime.output_dir = "???"
    named = {key: _with_targets(node) if "logging" in key else node for key, node in built.items()}
    require_none(untrusted_targets({"hydra": named}))
    return cfg


def _job_config(
    loader: ConfigLoaderImpl, master_config: DictConfig, sweep_overrides: list[str]
) -> DictConfig:
    """As Hydra composes it, but once for all jobs that choose the same options."""
    if loader not in _jobs:
        _jobs[loader] = Compositions(loader, lambda words: _load_job(loader, master_config, words))
    config = _jobs[loader].of(sweep_overrides)
    OmegaConf.copy_cache(from_config=master_config, to_config=config)
    return config


_jobs: WeakKeyDictionary[ConfigLoaderImpl, Compositions] = WeakKeyDictionary()
"""Of the multirun whose configs a loader loads."""


def _save_without_secrets(cfg: Any, filename: str, folder: Any) -> None:
    plain = OmegaConf.to_container(cfg, resolve=False)
    _save_config(OmegaConf.create(without_secrets(plain)), filename, folder)


def _with_targets(node: Any) -> Any:
    """What Python's `logging` would call or import, as `_target_`."""
    if isinstance(node, dict):
        keys = {"class": "_target_", "()": "_target_"}
        return {keys.get(key, key): _with_targets(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_targets(value) for value in node]
    is_import = str(node).startswith("ext://") and node not in STREAMS
    return {"_target_": node} if is_import else node
