"""Writes the files of an export, reads them again and compares them with the network."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch

from deeper.benchmarks import report
from deeper.export import metadata, parity
from deeper.export.formats import Format
from deeper.export.graph import Graph
from deeper.export.parity import Forward
from deeper.files import require_space, whole
from deeper.inference.model import Trained
from deeper.runs import record


@dataclass
class Measurement:
    """What was measured of one form of the network."""

    name: str
    megabytes: float
    difference: float
    """From the logits of the network as trained, as a fraction of its largest one."""
    images_per_s: float


def export(
    trained: Trained,
    formats: Sequence[Format],
    out: Path,
    *,
    overwrite: bool = False,
    bound: float = 1e-5,
    rounds: int = 5,
) -> list[Measurement]:
    """Write a file of each format, and preprocessing.json, to the folder `out`.

    Raises `ValueError`, and leaves no file, where one exists already, where the disk is full, or where
    the logits of a form differ by more than `bound`.
    """
    graph = Graph(trained, metadata.describe(trained))
    text = json.dumps(graph.metadata, indent=2, ensure_ascii=False) + "\n"
    _refuse_existing(out, [form.FILE for form in formats], text, overwrite)
    batches = parity.probe_batches(trained.image_size)
    references = parity.logits(trained, batches)
    if not all(logits.isfinite().all() for logits in references):
        raise ValueError(f"{trained.path}: the logits are not finite; its training has diverged")

    forms: dict[str, Forward] = {"eager": trained, "eager, folded": graph.folded}
    sizes, differences = {}, {}
    with _folder(out), ExitStack() as files:
        values = trained.net.state_dict().values()
        require_space(out, sum(value.nbytes for value in values) * len(formats), "out")
        for form in formats:
            temporary = files.enter_context(whole(out / form.FILE))
            temporary.write_bytes(data := form.encode(graph))
            sizes[form.FILE] = len(data)
            forms[form.FILE] = form.open_file(temporary, graph)
        described = files.enter_context(whole(out / metadata.FILE))
        described.write_text(text, encoding="utf-8")
        for name, forward in forms.items():
            pairs = zip(parity.logits(forward, batches), references, strict=True)
            differences[name] = max(parity.difference(*pair) for pair in pairs)
            if differences[name] > bound:
                raise ValueError(
                    f"{name}: differs from the network as trained by {differences[name]:.1e} of its "
                    f"largest logit, and {bound:.0e} is the bound; no file is left"
                )
        speed = parity.images_per_s(forms, batches[-1], rounds)
    return [Measurement(n, sizes.get(n, 0) / 1e6, differences[n], speed[n]) for n in forms]


def show(trained: Trained, measurements: Sequence[Measurement], out: Path, rounds: int) -> None:
    """Print a table with a line for each form."""
    eager = measurements[0].images_per_s
    report.show(
        f"{trained.path}, {trained.weights} weights; {torch.get_num_threads()} threads, "
        f"batches of {parity.BATCHES[-1]}, medians of {rounds}",
        [
            {
                "form": form.name,
                "MB": f"{form.megabytes:.1f}" if form.megabytes else "",
                "max |Δ| / max |logit|": f"{form.difference:.1e}",
                "images/s": round(form.images_per_s, 1),
                "times eager": round(form.images_per_s / eager, 2),
            }
            for form in measurements
        ],
    )
    print(f"written to {out}")


def output_folder(cfg: Any, path: Path) -> Path:
    """`out`; else export/ in the checkpoint's run directory, or a folder beside a lone checkpoint."""
    if cfg.out:
        return Path(cfg.out).expanduser()
    run = path.absolute().parent.parent
    return run / "export" if (run / record.FILE).exists() else path.parent / f"{path.stem}-export"


def _refuse_existing(out: Path, names: Sequence[str], text: str, overwrite: bool) -> None:
    """Refuse to replace files unless told to; an equal preprocessing.json may stay."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={out}: is a file; pass out=<a folder>")
    for name in (*names, metadata.FILE):
        if (out / name).is_dir():
            raise ValueError(f"{out / name}: is a folder; pass out=<another folder>")
    existing = [name for name in names if (out / name).exists()]
    described = out / metadata.FILE
    if described.exists() and described.read_bytes() != text.encode():
        existing.append(metadata.FILE)
    if existing and not overwrite:
        raise ValueError(
            f"{out}: holds {', '.join(existing)} already; overwrite=true replaces, or pass "
            f"out=<another folder>"
        )


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder to write to, and remove it again if it stays empty."""
    new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(f"out={path}: {error.strerror}; pass out=<a folder>") from error
    try:
        yield
    finally:
        if new:
            with suppress(OSError):  # not empty
                path.rmdir()
