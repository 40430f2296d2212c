"""What is in a checkpoint, and how it is written and read so that a crash costs nothing.

A checkpoint is tensors and plain dict, list, str and numbers: `torch.load(weights_only=True)`
reads it. Beside Lightning's state it holds, under "deeper", a format version, the resolved config
and the class list; under "averaged_state_dict" the averaged network, where there is one.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from deeper.files import beside, replacement, sync
from deeper.runs import directory as runs

FORMAT = 1


def contents(
    config: dict[str, Any], classes: list[str], test_images: str | None = None
) -> dict[str, Any]:
    """`test_images` is the fingerprint of the test set, so that an evaluation knows it again."""
    return {
        "format": FORMAT,
        "config": config,
        "classes": list(classes),
        "test_images": test_images,
    }


class AtomicCheckpointIO(TorchCheckpointIO):
    """Written beside its target, synced, renamed, with a digest: a file under its name is whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        save(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        return load(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)
        digest_path(Path(path)).unlink(missing_ok=True)


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Replace `path` at once. A failure, such as a full disk, leaves the old file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with beside(path) as temporary:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
            sync(temporary)
            _put(temporary, path, sha256(temporary))
    except (OSError, RuntimeError) as error:
        # torch's writer hides the system's error behind one of its own.
        if any(isinstance(e, OSError) and e.errno == errno.ENOSPC for e in _chain(error)):
            raise DiskFull(path) from error
        raise


class DiskFull(OSError):
    """The file that was to be replaced is as it was."""

    exit_status = 1

    def __init__(self, path: Path) -> None:
        super().__init__(errno.ENOSPC, "No space left on device", str(path))

    def __str__(self) -> str:
        return (
            f"{self.filename}: No space left on the disk; what was there before is whole: make room "
            f"and go on with resume=<run directory>"
        )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def link(source: Path, target: Path) -> None:
    """Give a checkpoint a second name, which keeps its content when the first is replaced."""
    with beside(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, temporary)
        # Where both are names of one file already, the rename does nothing and leaves the temporary.
        _put(temporary, target, sha256(temporary))


def load(path: Path) -> dict[str, Any]:
    """Raises `ValueError` for a missing, damaged or foreign file. Never unpickles code."""
    runs.file(path)
    if digest_path(path).exists() and sha256(path) not in digest_path(path).read_text().split():
        raise ValueError(f"{path}: damaged, its digest differs from {digest_path(path).name}")
    try:
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path}: not a checkpoint that loads safely ({type(error).__name__})"
        ) from error
    ours = loaded.get("deeper") if isinstance(loaded, dict) else None
    found = ours.get("format") if isinstance(ours, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{path}: not a checkpoint of this project's format {FORMAT} (found {found})"
        )
    return loaded


def network_state(checkpoint: dict[str, Any], weights: str = "averaged") -> dict[str, Any]:
    """The network's state: averaged where asked for and there, else live."""
    if weights not in ("averaged", "live"):
        raise ValueError(f"weights={weights}: choose averaged or live")
    if weights == "averaged" and "averaged_state_dict" in checkpoint:
        averaged: dict[str, Any] = checkpoint["averaged_state_dict"]
        return averaged
    return _under("net.", checkpoint["state_dict"])


def preprocess_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The preprocessing's buffers: range, mean, deviation."""
    return _under("preprocess.", checkpoint["state_dict"])


def _under(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }


def require_classes(checkpoint: dict[str, Any], classes: list[str]) -> None:
    """Refuse data whose labels mean something else than those that the network learned."""
    learned = checkpoint["deeper"]["classes"]
    if learned == classes:
        return
    differ = [
        f"{i}: {a!r} against {b!r}"
        for i, (a, b) in enumerate(zip(learned, classes, strict=False))
        if a != b
    ]
    first = f", first at {differ[0]}" if differ else ""
    raise ValueError(
        f"the checkpoint was trained on {len(learned)} classes, the data has {len(classes)}{first}; "
        f"evaluate on data of the same classes, or train anew"
    )


def digest_path(path: Path) -> Path:
    """Readable by `sha256sum --check` in the checkpoint's folder."""
    return path.with_name(f"{path.name}.sha256")


def _put(temporary: Path, path: Path, digest: str) -> None:
    """Rename, at every instant beside a digest file that names what stands there.

    Between the two renames the digest file lists the new content and the old.
    """
    sidecar, line = digest_path(path), f"{digest}  {path.name}\n"
    old = f"{sha256(path)}  {path.name}\n" if path.exists() else ""
    _replace_text(sidecar, line + old)
    os.replace(temporary, path)
    _replace_text(sidecar, line)
    _sync_folder(path.parent)


def _replace_text(path: Path, text: str) -> None:
    with replacement(path) as temporary:
        temporary.write_text(text)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
