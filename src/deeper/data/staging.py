"""Copies a packed root once to a disk of this node, and compares the digests."""

import os
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock

from deeper.data.layouts import packed
from deeper.files import (
    disk_full_explained,
    file_digest,
    gigabytes,
    remove_temporary,
    require_space,
    whole,
)


def staged(root: Path, to: Path) -> Path:
    """A folder below `to` with a copy of the packed `root`.

    Any number of processes of a node may ask: one copies, the others wait for it. A copy that was
    made before is taken; one that was killed is continued.
    """
    if not packed.fits(root):
        raise ValueError(
            f"data.stage_to={to} copies the packed form, and data.root={root} is none; run "
            f"`python src/prepare.py data.root={root} pack=true out=DIR` and train on data.root=DIR"
        )
    about = packed.read_about(root)
    target = to / f"packed-{about['fingerprint']}"
    try:
        to.mkdir(parents=True, exist_ok=True)
        with FileLock(to / f".{target.name}.lock"):
            if not packed.fits(target):
                _copy(root, target, about)
    except OSError as error:
        raise ValueError(f"data.stage_to={to}: {error}; choose another folder") from error
    return target


def _copy(root: Path, target: Path, about: dict[str, Any]) -> None:
    partial = target.with_name(f".{target.name}.partial")
    partial.mkdir(exist_ok=True)
    remove_temporary(partial)
    missing = [shard for shard in packed.shards(about) if not (partial / shard["file"]).exists()]
    size = sum(shard["bytes"] for shard in missing)
    require_space(target.parent, size, "data.stage_to")
    print(f"staging   {gigabytes(size)} from {root} to {target}", flush=True)
    for shard in missing:
        with whole(partial / shard["file"]) as temporary:
            shutil.copyfile(root / shard["file"], temporary)
            if (found := file_digest(temporary)) != shard["sha256"]:
                raise ValueError(
                    f"{root / shard['file']}: has SHA-256 {found}, {packed.FILE} says "
                    f"{shard['sha256']}; copy or pack it again"
                )
    with disk_full_explained(partial):
        shutil.copyfile(root / packed.FILE, partial / packed.FILE)
    os.rename(partial, target)
