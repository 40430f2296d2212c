"""Deeper: GoogLeNet, trained, ablated and reported from one command."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["compose", "load"]


def __getattr__(name: str) -> Any:
    """`deeper.load(run or checkpoint)` and `deeper.compose("recipe=paper")`, whose packages take seconds to import."""
    if name == "load":
        from deeper.inference.model import load

        return load
    if name == "compose":
        from deeper.cli.notebook import compose

        return compose
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
