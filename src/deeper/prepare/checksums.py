"""Digests of whole files beside the images: the official archives, the shards of a packed form."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deeper.data.layouts import packed

OFFICIAL = {
    "ILSVRC2012_img_train.tar": "1d675b47d978889d74fa0da5fadfb00e",
    "ILSVRC2012_img_val.tar": "29b22e2961454d5413ddabcf34fc5622",
    "ILSVRC2012_devkit_t12.tar.gz": "fa75699e90414af021442c21a62c3abf",
}
"""MD5, as torchvision.datasets.imagenet has them."""

Seen = Mapping[str, Mapping[str, Any]]
"""File name → its bytes, when it was last touched (ctime, ns), and its MD5."""


class Digest(NamedTuple):
    """A task: the digest of a file in hexadecimal digits."""

    path: Path
    algorithm: str

    @property
    def images(self) -> int:
        return 0

    def value(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest()


def official(root: Path, seen: Seen) -> Iterator[Digest]:
    """Of the official archives in `root` that were not `seen` as they are."""
    for name in OFFICIAL:
        path = root / name
        if path.is_file() and not _stamp(path).items() <= seen.get(name, {}).items():
            yield Digest(path, "md5")


def _stamp(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"bytes": status.st_size, "changed": status.st_ctime_ns}


def known(answered: Mapping[Any, Any], seen: Seen) -> Seen:
    """For the manifest: what was digested now, and what was `seen` before and is there still."""
    now = {
        task.path.name: _stamp(task.path) | {"md5": answer}
        for task, answer in answered.items()
        if isinstance(task, Digest) and task.algorithm == "md5"
    }
    return {name: (dict(seen) | now)[name] for name in OFFICIAL if name in {*seen, *now}}


def shards(root: Path) -> Iterator[Digest]:
    if packed.fits(root):
        for shard in packed.shards(packed.read(root)):
            yield Digest(root / shard["file"], "sha256")


def require_shards(root: Path, answered: Mapping[Any, Any]) -> None:
    """Refuse a packed form of which a byte has changed since it was made."""
    if not packed.fits(root):
        return
    torn = [
        shard["file"]
        for shard in packed.shards(packed.read(root))
        if answered[Digest(root / shard["file"], "sha256")] != shard["sha256"]
    ]
    if torn:
        raise ValueError(
            f"data.root={root}: {', '.join(torn)} differ from their digests in {packed.FILE}; copy "
            f"them again, or pack anew"
        )
