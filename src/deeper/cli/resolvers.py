"""Interpolations of our config files, beside OmegaConf's own."""

from collections.abc import Callable
from typing import Any

from omegaconf import OmegaConf

from deeper.config import overrides
from deeper.config.groups import PROJECT
from deeper.models.geometry import auto_stem
from deeper.runs import directory


def register_resolvers() -> None:
    resolvers: dict[str, Callable[..., Any]] = {
        "project": lambda: str(PROJECT),
        "auto_stem": auto_stem,
        "run_name": overrides.run_name,
        "run_dir": directory.run_dir,
        "sweep_dir": directory.sweep_dir,
        "job_dir": directory.job_dir,
        "hydra_subdir": directory.hydra_subdir,
    }
    for name, function in resolvers.items():
        OmegaConf.register_new_resolver(name, function, replace=True)
