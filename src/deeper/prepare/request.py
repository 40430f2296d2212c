"""From prepare's config to what is to be done, or to every problem with it at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from deeper.config import signatures
from deeper.config import trusted as targets
from deeper.config.errors import ConfigError
from deeper.config.instantiate import build
from deeper.prepare.prepare import Preparation
from deeper.prepare.verify import Shrinking


def preparation(cfg: DictConfig) -> Preparation:
    if found := list(_problems(cfg)):
        raise ConfigError(found)
    source = {"data": {"source": OmegaConf.to_container(cfg.data.source, resolve=True)}}
    if lines := targets.refused(source) or signatures.problems(source):
        raise ConfigError(lines)
    shrinks = cfg.pack and cfg.size != "original"
    return Preparation(
        build(cfg.data.source),
        data=HydraConfig.get().runtime.choices["data"],
        root=Path(cfg.data.root).expanduser(),
        cache=Path(cfg.paths.cache).expanduser(),
        out=Path(cfg.out).expanduser() if cfg.pack else None,
        shrinking=Shrinking(cfg.size, cfg.quality) if shrinks else None,
        workers=cfg.workers,
        quarantine=cfg.on_bad.value == "quarantine",
    )


def _problems(cfg: Any) -> Iterator[str]:
    if OmegaConf.is_missing(cfg.data, "root"):
        yield "data.root: required; pass data.root=<the folder of the images>"
    if cfg.data.limit is not None:
        yield f"data.limit={cfg.data.limit}: prepare opens every image; leave it out"
    if cfg.pack and OmegaConf.is_missing(cfg, "out"):
        yield "out: required with pack=true; pass out=<a folder for the packed form>"
    if not cfg.pack and not OmegaConf.is_missing(cfg, "out"):
        yield f"out={cfg.out}: only pack=true writes there; pass pack=true too"
    if cfg.size != "original" and not _whole(cfg.size, 1):
        yield f"size={cfg.size}: pixels of the shorter side, at least 1, or original"
    if not 1 <= cfg.quality <= 100:
        yield f"quality={cfg.quality}: must lie in 1..100"
    if cfg.workers != "auto" and not _whole(cfg.workers, 0):
        yield f"workers={cfg.workers}: auto, or a number from 0 (no process beside this one) on"


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
