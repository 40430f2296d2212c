"""The file formats of an export by name, and which of them this installation can write."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from deeper.config.errors import ConfigError
from deeper.export import onnx, safetensors, torch_export
from deeper.export.graph import Graph
from deeper.export.parity import Forward


class Format(Protocol):
    """A module of this package that writes and reads one kind of file."""

    @property
    def FILE(self) -> str: ...

    @property
    def PACKAGES(self) -> Sequence[str]:
        """Packages that only this format needs."""

    def encode(self, graph: Graph) -> bytes: ...

    def open_file(self, path: Path, graph: Graph) -> Forward: ...


FORMATS: dict[str, Format] = {
    "safetensors": safetensors,
    "onnx": onnx,
    "torch_export": torch_export,
}


def requested(cfg: Any) -> list[Format]:
    """The formats that `format` names. Raises `ConfigError` for mistakes in export's config."""
    names = [*FORMATS] if cfg.format.value == "all" else [cfg.format.value]
    problems = []
    if cfg.rounds < 1:
        problems.append(f"rounds={cfg.rounds}: must be at least 1")
    if not 0 < cfg.bound < 1:
        problems.append(f"bound={cfg.bound}: a fraction of the largest logit, between 0 and 1")
    if missing := [package for name in names for package in _missing(name)]:
        others = "|".join(name for name in FORMATS if not _missing(name))
        problems.append(
            f"format={cfg.format.value}: needs {', '.join(missing)}: pip install -e '.[export]'; "
            f"without them: format={others}"
        )
    if problems:
        raise ConfigError(problems)
    return [FORMATS[name] for name in names]


def _missing(name: str) -> list[str]:
    return [package for package in FORMATS[name].PACKAGES if find_spec(package) is None]
