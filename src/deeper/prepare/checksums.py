"""Digests of the official archives and of the shards of a packed root."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeper.data.layouts import packed
from deeper.files import file_digest

OFFICIAL = {
    "ILSVRC2012_img_train.tar": "1d675b47d978889d74fa0da5fadfb00e",
    "ILSVRC2012_img_val.tar": "29b22e2961454d5413ddabcf34fc5622",
    "ILSVRC2012_devkit_t12.tar.gz": "fa75699e90414af021442c21a62c3abf",
}
"""MD5 of the archives as published, from torchvision.datasets.imagenet."""

ArchiveDigests = Mapping[str, Mapping[str, Any]]
"""File name → size in bytes, `changed` (ctime in ns) and MD5."""


def archive_digests(root: Path, earlier: ArchiveDigests) -> dict[str, Any]:
    """Of the official archives in `root`; those that have not changed since `earlier` are not read."""
    found: dict[str, Any] = {}
    for name in OFFICIAL:
        path = root / name
        if path.is_file():
            stamp = {"bytes": path.stat().st_size, "changed": path.stat().st_ctime_ns}
            known = earlier.get(name, {})
            same = stamp.items() <= known.items()
            found[name] = dict(known) if same else stamp | {"md5": file_digest(path, "md5")}
    return found


def require_shards(root: Path) -> None:
    """Refuse a packed root of which a byte has changed since it was packed."""
    if not packed.fits(root):
        return
    changed = [
        shard["file"]
        for shard in packed.shards(packed.read(root))
        if file_digest(root / shard["file"]) != shard["sha256"]
    ]
    if changed:
        raise ValueError(
            f"data.root={root}: {', '.join(changed)} differ from their digests in {packed.FILE}; copy "
            f"them again, or pack anew"
        )
