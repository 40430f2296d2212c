"""Checkpoint files: what they hold, and how they are written so that a crash loses nothing.

A checkpoint holds tensors and plain dict, list, str and numbers: `torch.load(weights_only=True)`
reads it. Beside Lightning's state it has, under "deeper", a format version, the resolved config and
the class list; under "averaged_state_dict" the averaged network, where there is one.

The file ends with the SHA-256 of what stands before, as the comment of the zip file that it is. The
file beside it has the digest of the whole, for `sha256sum --check`.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from deeper.files import FULL, beside, file_digest, gigabytes, sync

FORMAT = 2
LAST_COMMIT_OF_FORMAT_1 = "8484ce0"

DIGITS = 64
"""Hex digits of a SHA-256."""


def contents(
    config: dict[str, Any], classes: list[str], test_images: str | None = None
) -> dict[str, Any]:
    """What a checkpoint holds under "deeper"; `test_images` is the fingerprint of the test set."""
    about = {"config": config, "classes": list(classes), "test_images": test_images}
    return {"format": FORMAT} | about


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints by `save_checkpoint` and `load_checkpoint` of this module."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """`storage_options={"previous": path}` keeps the file that is replaced under another name."""
        save_checkpoint(checkpoint, Path(path), **(storage_options or {}))

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        return load_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)
        digest_path(Path(path)).unlink(missing_ok=True)


def save_checkpoint(checkpoint: dict[str, Any], path: Path, previous: Path | None = None) -> None:
    """Replace `path` atomically, and keep what it was as `previous`, if that is given.

    Raises `DiskFull` where there is no room; the old files are then as they were.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    needed, free = sum(t.nbytes for t in _tensors(checkpoint)), shutil.disk_usage(path.parent).free
    if needed > free:
        raise DiskFull(path, f"needs {gigabytes(needed)}, and {gigabytes(free)} are free")
    with _disk_full(path), beside(path) as temporary:
        with temporary.open("w+b") as file:
            torch.save(checkpoint, file)
            _seal(file)
        _replace(path, temporary, previous)


@contextmanager
def _disk_full(path: Path) -> Iterator[None]:
    """Raises `DiskFull` where there is no room."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch's writer hides the system's error behind one of its own.
        if any(isinstance(e, OSError) and e.errno in FULL for e in _causes(error)):
            raise DiskFull(path, "no space left on the disk") from error
        raise


class DiskFull(OSError):
    """A checkpoint that could not be written; earlier ones are unchanged."""

    exit_status = 1

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path}: {why}; the earlier checkpoint is intact: make room and continue with "
            f"resume=<run directory>"
        )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _tensors(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, dict | list | tuple):
        for value in content.values() if isinstance(content, dict) else content:
            yield from _tensors(value)


def copy_checkpoint(source: Path, target: Path, previous: Path | None = None) -> None:
    """As `save_checkpoint`, with the content of `source`, in a file of its own."""
    with _disk_full(target), beside(target) as temporary:
        shutil.copyfile(source, temporary)
        _replace(target, temporary, previous)


def move_checkpoint(source: Path, target: Path) -> None:
    """With the digest beside it; what is not there stays away."""
    for old, new in ((source, target), (digest_path(source), digest_path(target))):
        if old.exists():
            os.replace(old, new)


def newest_checkpoint(paths: Sequence[Path]) -> Path:
    """The file of the most steps that is whole; says so where a newer one is damaged.

    Raises `ValueError` with what is wrong with each where none is whole.
    """
    steps: dict[Path, int] = {}
    damages: list[str] = []
    for path in paths:
        if path.exists():
            try:
                steps[path] = load_checkpoint(path, mmap=True)["global_step"]
            except ValueError as error:
                damages.append(str(error))
    if not steps:
        raise ValueError("\n".join(damages) or f"{paths[0]}: no such checkpoint file")
    newest = max(steps, key=lambda path: steps[path])
    if damages:
        print("\n".join(damages), f"goes on from {newest}, step {steps[newest]}", sep="\n")
    return newest


def load_checkpoint(path: Path, mmap: bool = False) -> dict[str, Any]:
    """Raises `ValueError` for a missing, damaged, foreign or older file. Never unpickles code.

    With `mmap` tensors stay on disk until they are used.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint file")
    if damage := _damage(path):
        raise ValueError(f"{path}: damaged, {damage}")
    try:
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:
        raise ValueError(
            f"{path}: not a checkpoint that loads safely ({type(error).__name__})"
        ) from error
    ours = loaded.get("deeper") if isinstance(loaded, dict) else None
    found = ours.get("format") if isinstance(ours, dict) else None
    if found == 1:
        raise ValueError(
            f"{path}: written by an earlier version (format 1); evaluate it with the version that "
            f"wrote it (commit {LAST_COMMIT_OF_FORMAT_1}), or train anew"
        )
    if found != FORMAT:
        raise ValueError(
            f"{path}: not a checkpoint of this project's format {FORMAT} (found {found})"
        )
    return loaded


def epochs_done(checkpoint: dict[str, Any]) -> int:
    """Epochs whose steps are all done."""
    done: int = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    return done


def accumulated_batches(checkpoint: dict[str, Any], default: int) -> int:
    """Micro-batches of an optimizer step, by the checkpoint's config."""
    trainer = checkpoint["deeper"]["config"].get("trainer", {})
    number: int = trainer.get("accumulate_grad_batches", default)
    return number


def network_state(checkpoint: dict[str, Any], weights: str = "averaged") -> dict[str, Any]:
    """The network's state dict: averaged where asked for and there, else live."""
    if weights not in ("averaged", "live"):
        raise ValueError(f"weights={weights}: choose averaged or live")
    if weights == "averaged" and "averaged_state_dict" in checkpoint:
        averaged: dict[str, Any] = checkpoint["averaged_state_dict"]
        return averaged
    return _below("net.", checkpoint["state_dict"])


def require_current_statistics(state: dict[str, Any], path: Path, weights: str) -> None:
    """Refuse averaged weights whose batch-norm statistics belong to other weights."""
    if weights == "averaged" and state.get("averaged_statistics") == "stale":
        raise ValueError(
            f"{path}: was saved between validations, so the batch-norm statistics of its averaged "
            f"weights belong to other weights; pass weights=live, or a checkpoint that was validated, "
            f"as run={path.parent.parent} does"
        )


def preprocess_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The preprocessing's state dict: scale, mean, standard deviation."""
    return _below("preprocess.", checkpoint["state_dict"])


def _below(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }


def require_classes(checkpoint: dict[str, Any], classes: list[str]) -> None:
    """Raises `ValueError` where the data's labels are not those that the network learned."""
    learned = checkpoint["deeper"]["classes"]
    if learned == classes:
        return
    pairs = enumerate(zip(learned, classes, strict=False))
    differ = (f", first at {i}: {a!r} against {b!r}" for i, (a, b) in pairs if a != b)
    raise ValueError(
        f"the checkpoint was trained on {len(learned)} classes, the data has {len(classes)}"
        f"{next(differ, '')}; evaluate on data of the same classes, or train anew"
    )


def digest_path(path: Path) -> Path:
    """The digest file, readable by `sha256sum --check` in the checkpoint's folder."""
    return path.with_name(f"{path.name}.sha256")


def _replace(path: Path, temporary: Path, previous: Path | None) -> None:
    """Rename `path` to `previous` and `temporary` to `path`."""
    sync(temporary)
    if previous is not None and path.exists():
        os.replace(path, previous)
        _write_digest(previous)
    os.replace(temporary, path)
    _write_digest(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _write_digest(path: Path) -> None:
    """Not synced to the disk: the checkpoint's own digest is what counts."""
    with beside(digest_path(path)) as temporary:
        temporary.write_text(f"{file_digest(path)}  {path.name}\n")
        os.replace(temporary, digest_path(path))


def _seal(file: Any) -> None:
    """Append the digest of a zip file without a comment as its comment."""
    file.seek(-2, os.SEEK_END)
    file.write(DIGITS.to_bytes(2, "little"))  # length of the comment
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0, os.SEEK_END)
    file.write(digest.encode())


def _damage(path: Path) -> str | None:
    """How a file differs from what was written; None for a whole one, and one of another program."""
    body = path.read_bytes()
    end = body[-DIGITS:]
    sealed = body[-DIGITS - 2 : -DIGITS] == DIGITS.to_bytes(2, "little")
    if sealed or re.fullmatch(rb"[0-9a-f]{64}", end):
        whole = hashlib.sha256(memoryview(body)[:-DIGITS]).hexdigest().encode() == end
        return None if whole else "its content differs from its digest"
    if digest_path(path).exists():
        same = hashlib.sha256(body).hexdigest() in digest_path(path).read_text().split()
        return None if same else f"its digest differs from {digest_path(path).name}"
    comment = body.rfind(b"PK\5\6") + 22  # begins after the record that ends a zip file
    announced = int.from_bytes(body[comment - 2 : comment], "little")
    return "its end is cut" if comment > 22 and announced > len(body) - comment else None
