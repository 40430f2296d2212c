"""From export's config to what is to be written and where, or to why not."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from deeper.config.errors import ConfigError
from deeper.export import onnx, safetensors, torch_export
from deeper.export.graph import Subject
from deeper.export.parity import Answers
from deeper.inference import model as trained
from deeper.inference.model import Trained
from deeper.runs import record
from deeper.runs import select as networks


class Form(Protocol):
    """A kind of file, as a module of this package."""

    @property
    def FILE(self) -> str: ...

    @property
    def PACKAGES(self) -> Sequence[str]:
        """Beyond this project's own requirements."""

    def encoded(self, subject: Subject) -> bytes: ...

    def opened(self, path: Path, subject: Subject) -> Answers: ...


FORMS: dict[str, Form] = {
    "safetensors": safetensors,
    "onnx": onnx,
    "torch_export": torch_export,
}


def forms(cfg: Any) -> list[Form]:
    """Those asked for. Raises `ConfigError` for what can't be done, before anything is loaded."""
    wanted = [*FORMS] if cfg.format.value == "all" else [cfg.format.value]
    if found := [*_problems(cfg, wanted)]:
        raise ConfigError(found)
    return [FORMS[name] for name in wanted]


def _problems(cfg: Any, wanted: list[str]) -> Iterator[str]:
    if cfg.rounds < 1:
        yield f"rounds={cfg.rounds}: must be at least 1"
    if not 0 < cfg.bound < 1:
        yield f"bound={cfg.bound}: a share of the largest logit, between 0 and 1"
    missing = [p for name in wanted for p in FORMS[name].PACKAGES if find_spec(p) is None]
    if missing:
        ready = [n for n in FORMS if all(find_spec(p) is not None for p in FORMS[n].PACKAGES)]
        yield (
            f"format={cfg.format.value}: needs {', '.join(missing)}: pip install -e '.[export]'; "
            f"without them: format={'|'.join(ready)}"
        )


def network(cfg: Any) -> Trained:
    """That of `run` or `ckpt`, by the weights asked for."""
    return trained.load(networks.one(cfg), cfg.weights.value)


def folder(cfg: Any, path: Path) -> Path:
    """`out`; else export/ in the run directory, or beside a checkpoint that lies elsewhere."""
    if cfg.out:
        return Path(cfg.out).expanduser()
    run = path.absolute().parent.parent
    return run / "export" if (run / record.FILE).exists() else path.parent / f"{path.stem}-export"
