"""Checkpoint files: what they hold, and how they are written so that a crash loses nothing.

A checkpoint holds tensors and plain dict, list, str and numbers: `torch.load(weights_only=True)`
reads it. Beside Lightning's state it has, under "deeper", a format version, the resolved config and
the class list; under "averaged_state_dict" the averaged network, where there is one.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from deeper.files import beside, file_digest, replacement, sync

FORMAT = 2
LAST_COMMIT_OF_FORMAT_1 = "8484ce0"


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
        save_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        return load_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)
        digest_path(Path(path)).unlink(missing_ok=True)


def save_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Replace `path` atomically. A failure, such as a full disk, leaves the old file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with beside(path) as temporary:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
            sync(temporary)
            _replace(path, temporary)
    except (OSError, RuntimeError) as error:
        # torch's writer hides the system's error behind one of its own.
        if any(isinstance(e, OSError) and e.errno == errno.ENOSPC for e in _causes(error)):
            raise DiskFull(
                f"{path}: No space left on the disk; the earlier checkpoint is intact: make room and "
                f"continue with resume=<run directory>"
            ) from error
        raise


class DiskFull(OSError):
    """The file that was to be replaced is unchanged."""

    exit_status = 1


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def link_checkpoint(source: Path, target: Path) -> None:
    """Give a checkpoint a second name, which keeps the content when `source` is replaced."""
    with beside(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, temporary)
        # Where both names are one file already, the rename does nothing and leaves the temporary.
        _replace(target, temporary)


def load_checkpoint(path: Path, mmap: bool = False) -> dict[str, Any]:
    """Raises `ValueError` for a missing, damaged, foreign or older file. Never unpickles code.

    With `mmap` tensors stay on disk until they are used.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint file")
    if (
        digest_path(path).exists()
        and file_digest(path) not in digest_path(path).read_text().split()
    ):
        raise ValueError(f"{path}: damaged, its digest differs from {digest_path(path).name}")
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


def _replace(path: Path, temporary: Path) -> None:
    """Rename `temporary` to `path`; the digest file lists at every instant what `path` is.

    Between the renames the digest file lists the new content and the old.
    """
    digests, line = digest_path(path), f"{file_digest(temporary)}  {path.name}\n"
    old = f"{file_digest(path)}  {path.name}\n" if path.exists() else ""
    _replace_text(digests, line + old)
    os.replace(temporary, path)
    _replace_text(digests, line)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def _replace_text(path: Path, text: str) -> None:
    with replacement(path) as temporary:
        temporary.write_text(text)
