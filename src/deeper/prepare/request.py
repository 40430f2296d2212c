"""Builds a `Preparation` from the config of `prepare.py`, or lists every problem with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from deeper.config import signatures
from deeper.config.errors import require_none
from deeper.config.instantiate import build
from deeper.prepare.prepare import Preparation
from deeper.prepare.verify import Resize


def preparation(cfg: DictConfig) -> Preparation:
    require_none(_problems(cfg))
    node = {"data": {"source": OmegaConf.to_container(cfg.data.source, resolve=True)}}
    signatures.require_buildable(node)
    resizes = cfg.pack and cfg.size != "original"
    source = build(cfg.data.source)
    return Preparation(
        source(root=cfg.data.root, cache=cfg.paths.cache),
        data=HydraConfig.get().runtime.choices["data"],
        root=Path(cfg.data.root).expanduser(),
        cache=Path(cfg.paths.cache).expanduser(),
        out=Path(cfg.out).expanduser() if cfg.pack else None,
        resize=Resize(cfg.size, cfg.quality) if resizes else None,
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
    if cfg.size != "original" and not _is_integer(cfg.size, 1):
        yield f"size={cfg.size}: pixels of the shorter side, at least 1, or original"
    if not 1 <= cfg.quality <= 100:
        yield f"quality={cfg.quality}: must lie in 1..100"
    if cfg.workers != "auto" and not _is_integer(cfg.workers, 0):
        yield f"workers={cfg.workers}: auto, or a number from 0 (no process beside this one) on"


def _is_integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
