"""The checkpoints that a command names. Imports no torch, so that a mistake is answered in a second."""

from pathlib import Path
from typing import Any

from deeper.runs import directory


def one(cfg: Any) -> Path:
    """The checkpoint that `run=` or `ckpt=` names; exactly one of them is required."""
    if cfg.run is not None and cfg.ckpt is not None:
        raise ValueError(f"run={cfg.run} and ckpt={cfg.ckpt}: both were given; pass one of them")
    if cfg.ckpt is not None:
        return _file(Path(cfg.ckpt).expanduser())
    if cfg.run is None:
        raise ValueError(
            "say which network: run=<run directory> for its best checkpoint, or ckpt=<file>"
        )
    return _best(cfg.run)


def several(cfg: Any) -> list[Path]:
    """As `one`, or the plain words of the command line: checkpoint files and run directories."""
    if not cfg.files:
        return [one(cfg)]
    if cfg.run is not None or cfg.ckpt is not None:
        named_by = " ".join(map(str, cfg.files))
        raise ValueError(f"{named_by}: pass all networks without run= and ckpt=, or one with it")
    paths = [named(name) for name in cfg.files]
    real = [path.resolve() for path in paths]
    for path, file in zip(paths, real, strict=True):
        if real.count(file) > 1:
            raise ValueError(f"files: {path} is named twice, and would count twice")
    return paths


def named(name: str | Path) -> Path:
    """The best checkpoint of a run directory, or a checkpoint file."""
    path = Path(name).expanduser()
    if path.is_dir() or not (path.exists() or path.suffix == ".ckpt"):
        return _best(str(path))
    return _file(path)


def _best(run: str) -> Path:
    return directory.checkpoint(directory.find_run(run), directory.BEST)


def _file(path: Path) -> Path:
    if path.is_dir():
        raise ValueError(f"{path}: a folder, not a checkpoint file; name a run by run={path}")
    if not path.is_file():
        raise ValueError(
            f"{path}: no such checkpoint file; `ls logs/train/runs/*/checkpoints/*.ckpt` lists yours"
        )
    return path
