"""Files written, read again and compared with the network; none has its name before all are right."""

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import torch
from torch import Tensor, nn

from deeper.benchmarks import report
from deeper.export import metadata as description
from deeper.export import parity
from deeper.export.fold import folded
from deeper.export.graph import Subject
from deeper.export.parity import Answers
from deeper.export.request import Form
from deeper.export.speed import images_per_s
from deeper.files import require_space, whole
from deeper.inference.model import Trained
from deeper.models.deployed import Deployed


@dataclass
class Row:
    """What was measured of one form of the network."""

    name: str
    megabytes: float
    difference: float
    """From the network as trained, as a share of its largest logit."""
    images_per_s: float


def export(
    trained: Trained,
    forms: Sequence[Form],
    out: Path,
    *,
    overwrite: bool = False,
    bound: float = 1e-5,
    rounds: int = 5,
) -> list[Row]:
    """Write each form and preprocessing.json into `out`. Raises `ValueError`, and leaves no file, where
    a file exists, where the disk is full, or where a form's logits differ by more than `bound`."""
    subject = Subject(trained, description.description(trained))
    about = json.dumps(subject.about, indent=2, ensure_ascii=False) + "\n"
    _require_free(out, [form.FILE for form in forms], about, overwrite)
    batches = parity.probes(trained.image_size)
    references = parity.answered(trained, batches)
    if not all(logits.isfinite().all() for logits in references):
        raise ValueError(f"{trained.path}: its network answers with NaN; its training has diverged")
    _require(_fold_difference(trained, batches[1]), parity.FOLD_BOUND, "batch norms, folded")

    answers: dict[str, Answers] = {"eager": trained, "eager, folded": subject.folded}
    sizes, apart = {}, {}
    with _made(out), ExitStack() as files:
        require_space(out, _bytes(trained.net) * len(forms), "out")
        for form in forms:
            temporary = files.enter_context(whole(out / form.FILE))
            temporary.write_bytes(data := form.encoded(subject))
            sizes[form.FILE] = len(data)
            answers[form.FILE] = form.opened(temporary, subject)
        text = files.enter_context(whole(out / description.FILE))
        text.write_text(about, encoding="utf-8")
        for name, answer in answers.items():
            apart[name] = parity.worst(parity.answered(answer, batches), references)
            _require(apart[name], bound, name)
        speed = images_per_s(answers, batches[-1], rounds)
    return [Row(name, sizes.get(name, 0) / 1e6, apart[name], speed[name]) for name in answers]


def show(trained: Trained, rows: Sequence[Row], out: Path, rounds: int) -> None:
    """A line a form: how far from the network as trained, and how fast, beside each other."""
    eager = rows[0].images_per_s
    report.show(
        f"{trained.path}, {trained.weights} weights; {torch.get_num_threads()} threads, "
        f"batches of {parity.BATCHES[-1]}, medians of {rounds}",
        [
            {
                "form": row.name,
                "MB": f"{row.megabytes:.1f}" if row.megabytes else "",
                "max |Δ| / max |logit|": f"{row.difference:.1e}",
                "images/s": round(row.images_per_s, 1),
                "times eager": round(row.images_per_s / eager, 2),
            }
            for row in rows
        ],
    )
    print(f"written to {out}")


def _require(share: float, bound: float, what: str) -> None:
    if not share <= bound:
        raise ValueError(
            f"{what}: differs from the network as trained by {share:.1e} of its largest logit, and "
            f"{bound:.0e} is the bound; no file is left"
        )


@torch.inference_mode()
def _fold_difference(trained: Trained, images: Tensor) -> float:
    """In float64, where only a mistake could differ."""
    inputs = trained.preprocess(images).double()
    net = copy.deepcopy(trained.net).double()
    plain, without = (Deployed(nn.Identity(), n).eval() for n in (net, folded(net, inputs)))
    return parity.difference(without(inputs), plain(inputs))


def _require_free(out: Path, names: Sequence[str], about: str, overwrite: bool) -> None:
    """Nothing is replaced that was not asked for; a description that would stay the same is no matter."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={out}: is a file; pass out=<a folder>")
    for name in (*names, description.FILE):
        if (out / name).is_dir():
            raise ValueError(f"{out / name}: is a folder; pass out=<another folder>")
    taken = [name for name in names if (out / name).exists()]
    described = out / description.FILE
    if described.exists() and described.read_bytes() != about.encode():
        taken.append(description.FILE)
    if taken and not overwrite:
        raise ValueError(
            f"{out}: holds {', '.join(taken)} already; overwrite=true replaces, or pass "
            f"out=<another folder>"
        )


def _bytes(net: nn.Module) -> int:
    return sum(value.numel() * value.element_size() for value in net.state_dict().values())


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder to write to, which goes again where it was made for nothing."""
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"out={folder}: {error.strerror}; pass out=<a folder>") from error
    try:
        yield
    finally:
        if new:
            with suppress(OSError):  # not empty
                folder.rmdir()
