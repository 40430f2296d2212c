"""Interpolations that config files use beyond OmegaConf's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from deeper.config import overrides as choices
from deeper.models.geometry import auto_stem
from deeper.runs import directory as runs

PROJECT = Path(__file__).resolve().parents[3]


def register() -> None:
    resolvers: dict[str, Callable[..., Any]] = {
        "project": lambda: str(PROJECT),
        "auto_stem": auto_stem,
        "run_name": choices.run_name,
        "run_dir": runs.run_dir,
        "sweep_dir": runs.sweep_dir,
        "run_id": runs.run_id,
        "hydra_subdir": runs.hydra_subdir,
    }
    for name, function in resolvers.items():
        OmegaConf.register_new_resolver(name, function, replace=True)
