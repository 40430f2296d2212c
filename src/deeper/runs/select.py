"""Which trained networks a command names. Without torch, so that a mistake is answered in a second."""

from pathlib import Path
from typing import Any

from deeper.runs import directory as runs


def one(cfg: Any) -> Path:
    """The checkpoint that `run=` or `ckpt=` names; exactly one of them must."""
    if (cfg.run is None) == (cfg.ckpt is None):
        raise ValueError(
            "say which network: run=<run directory> for its best checkpoint, or ckpt=<file>"
        )
    if cfg.ckpt is not None:
        return runs.file(Path(cfg.ckpt).expanduser())
    if Path(cfg.run).expanduser().is_file():
        raise ValueError(f"run={cfg.run}: a file; a checkpoint is named by ckpt={cfg.run}")
    return runs.checkpoint(runs.find(cfg.run), runs.BEST)


def several(cfg: Any) -> list[Path]:
    """The same, or the plain words of the command line: checkpoint files and run directories."""
    if not cfg.files:
        return [one(cfg)]
    if cfg.run is not None or cfg.ckpt is not None:
        raise ValueError(
            "say which networks: run=<run directory> or ckpt=<file>, or several without run= and ckpt="
        )
    # A glob over the folder of a sweep matches its multirun.yaml, too.
    paths = [named(name) for name in cfg.files if Path(name).name != "multirun.yaml"]
    real = [path.resolve() for path in paths]
    for path, file in zip(paths, real, strict=True):
        if real.count(file) > 1:
            raise ValueError(f"files: {path} is named twice, and would count twice")
    return paths


def named(name: str | Path) -> Path:
    """Of a run directory its best checkpoint, or a checkpoint file."""
    path = Path(name).expanduser()
    if path.is_dir() or not (path.exists() or path.suffix == ".ckpt"):
        return runs.checkpoint(runs.find(str(path)), runs.BEST)
    return runs.file(path)
