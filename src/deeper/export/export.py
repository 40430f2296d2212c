"""Writes the files of an export, reads them again and compares them with the network."""

import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from deeper.export import metadata, onnx, parity, safetensors, torch_export
from deeper.export.graph import Graph
from deeper.files import whole
from deeper.inference.model import Trained
from deeper.runs import record
from deeper.table import show_table

FORMATS: dict[str, ModuleType] = {
    "safetensors": safetensors,
    "onnx": onnx,
    "torch_export": torch_export,
}
"""Name → a module that writes `FILE` and needs `PACKAGES`. Its `encode(graph)` gives the bytes, and
`open_file(path, graph)` the network that a file holds: uint8 [B, 3, S, S] → logits [B, classes].
"""


class Exported(NamedTuple):
    """A file that was written."""

    name: str
    megabytes: float
    difference: float
    """From the logits of the network as trained, as a fraction of its largest one."""


def requested(cfg: Any) -> list[ModuleType]:
    """The formats that `format` names. Raises `ValueError` for mistakes in export's config."""
    forms = [*FORMATS.values()] if cfg.format.value == "all" else [FORMATS[cfg.format.value]]
    if not 0 < cfg.bound < 1:
        raise ValueError(f"bound={cfg.bound}: a fraction of the largest logit, between 0 and 1")
    packages = [package for form in forms for package in form.PACKAGES]
    if missing := [package for package in packages if find_spec(package) is None]:
        raise ValueError(
            f"format={cfg.format.value}: needs {', '.join(missing)}: pip install -e '.[export]', or "
            f"pass format=torch_export, which needs none"
        )
    return forms


def export(
    trained: Trained,
    formats: Sequence[ModuleType],
    out: Path,
    *,
    overwrite: bool = False,
    bound: float = 1e-5,
) -> list[Exported]:
    """Write a file of each format, and preprocessing.json, to the folder `out`.

    Raises `ValueError`, and leaves no file, where one exists already, where the disk is full, or where
    the logits of a form differ by more than `bound`.
    """
    graph = Graph(trained)
    text = json.dumps(graph.metadata, indent=2, ensure_ascii=False) + "\n"
    existing = [form.FILE for form in formats if (out / form.FILE).exists()]
    described = out / metadata.FILE
    if described.exists() and described.read_bytes() != text.encode():
        existing.append(metadata.FILE)
    if existing and not overwrite:
        raise ValueError(
            f"{out}: holds {', '.join(existing)} already; overwrite=true replaces, or pass "
            f"out=<another folder>"
        )
    batches = [parity.noise(n, trained.image_size) for n in parity.BATCHES]
    references = parity.logits(trained, batches)
    if not all(logits.isfinite().all() for logits in references):
        raise ValueError(f"{trained.path}: the logits are not finite; its training has diverged")

    exported = []
    with ExitStack() as files:
        files.callback(_remove_if_empty, out)
        try:
            out.mkdir(parents=True, exist_ok=True)
            files.enter_context(whole(described)).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ValueError(f"out={out}: {error.strerror}; pass out=<a folder>") from error
        for form in formats:
            file = files.enter_context(whole(out / form.FILE))
            file.write_bytes(form.encode(graph))
            found = parity.logits(form.open_file(file, graph), batches)
            difference = max(map(parity.logit_difference, found, references))
            if difference > bound:
                raise ValueError(
                    f"{form.FILE}: differs from the network as trained by {difference:.1e} of its "
                    f"largest logit, and {bound:.0e} is the bound; no file is left"
                )
            exported.append(Exported(form.FILE, file.stat().st_size / 1e6, difference))
    return exported


def show_export(trained: Trained, exported: Sequence[Exported], out: Path) -> None:
    """Print a table with a line for each file."""
    show_table(
        f"{trained.path}, {trained.weights} weights",
        {"file": "left", "MB": "right", "max |Δ| / max |logit|": "right"},
        [[file.name, f"{file.megabytes:.1f}", f"{file.difference:.1e}"] for file in exported],
    )
    print(f"written to {out}")


def output_folder(cfg: Any, path: Path) -> Path:
    """`out`; else export/ in the checkpoint's run directory, or a folder beside a lone checkpoint."""
    if cfg.out:
        return Path(cfg.out).expanduser()
    run = path.absolute().parent.parent
    return run / "export" if (run / record.FILE).exists() else path.parent / f"{path.stem}-export"


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
