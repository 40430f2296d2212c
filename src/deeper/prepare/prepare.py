"""Verifies every image of a root, and packs them on request.

Images are done in groups that fill a shard of the packed form. What a group found is kept until the
command succeeds: after a kill or a bad image the same command continues after the last group that
is complete and unchanged.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout

from deeper.data import manifest as manifests
from deeper.data.hashes import names_digest
from deeper.data.images.stored import StoredImages
from deeper.data.layouts import packed
from deeper.data.manifest import SCHEMA, Manifest, named_splits, read_table, write_table
from deeper.data.source import Source, prepare_once
from deeper.files import remove_temporary
from deeper.prepare import pack, report
from deeper.prepare.checksums import check_archives, require_shards
from deeper.prepare.verify import Resize, Verifier, verify

SHARD_BYTES = 256 * 2**20


def prepare(
    source: Source,
    root: Path,
    cache: Path,
    *,
    out: Path | None = None,
    resize: Resize | None = None,
    workers: int = 0,
    quarantine: bool = False,
) -> None:
    """Verify the images of `source`, and write the manifest of `root` into `cache`.

    With `out` they are packed into that folder; without `resize` they keep their bytes. `workers=0`
    is this process alone. Raises `ValueError` with the list of unreadable images, unless they are to
    be quarantined.
    """
    prepare_once(source, root, cache)
    splits = source.load()
    parts = named_splits(splits)
    for images in parts.values():
        if not isinstance(images, StoredImages):
            raise ValueError(
                f"data.root={root}: these images do not lie in files one by one, so there is "
                f"nothing to verify; train on them as they are"
            )
    digests = {split: names_digest(images, splits.classes) for split, images in parts.items()}
    made = {"images": _key(splits.classes, digests)} | ({} if out is None else pack.options(resize))
    folder = manifests.folder(cache, root)
    progress = (out or folder) / f".partial-{_key(made)}"
    if out is not None:
        if packed.fits(out) and made.items() <= packed.read_about(out)["made"].items():
            shutil.rmtree(progress, ignore_errors=True)  # of a run that was killed at its very end
            report.packed(out, among=sum(map(len, parts.values())))
            return
        _require_free(out, root, progress)
    with _locked(folder, "paths.cache", cache), _locked(progress, "out", out):
        require_shards(root)
        check_archives(root, quarantine)
        tables, shards = {}, {}
        total = sum(map(len, parts.values()))
        with report.progress(total, "packing" if out else "verifying") as advance:
            for split, images in parts.items():
                verifier = Verifier(split, images, splits.classes, out is not None, resize)
                groups = _groups(verifier, progress, out, workers, advance)
                tables[split] = pa.concat_tables([SCHEMA.empty_table(), *groups.values()])
                shards[split] = list(groups)
        manifest = Manifest.of(tables, splits.classes, digests)
        write_table(folder / manifests.FILE, manifest.table)
        remove_temporary(folder)
        report.verified(root, folder, manifest)
        report.require_good(folder, manifest, quarantine)
        if out is not None:
            pack.finish(out, manifest, shards, made)
            report.packed(out)
        for path in progress.parent.glob(".partial-*"):  # in the cache also of images that changed
            shutil.rmtree(path)


def _groups(
    verifier: Verifier,
    progress: Path,
    out: Path | None,
    workers: int,
    advance: Callable[[int], None],
) -> dict[str, pa.Table]:
    """The rows of all images of a split in groups, by the names of their files.

    Of a complete group `progress` has the rows and `out` the shard, which is written first.
    `advance` is called with the number of images done since.
    """
    groups: dict[str, pa.Table] = {}
    start = 0

    def name() -> str:
        return f"{verifier.split}-{len(groups):05d}.arrow"

    while (progress / name()).exists() and (out is None or (out / name()).exists()):
        rows = read_table(progress / name())
        if not verifier.holds(rows, start):
            break
        groups[name()] = rows
        start += len(rows)
        advance(len(rows))
    for rows in _filled(verify(verifier, start, workers), advance):
        if out is not None:
            pack.write_shard(out / name(), rows, verifier.classes)
        rows = rows.select(SCHEMA.names)
        write_table(progress / name(), rows)
        groups[name()] = rows
    return groups


def _filled(batches: Iterator[pa.Table], advance: Callable[[int], None]) -> Iterator[pa.Table]:
    """Consecutive batches joined until they fill a shard; without images to pack, by their files' size."""
    group: list[pa.Table] = []
    size = 0
    for rows in batches:
        group.append(rows)
        packs = "image" in rows.column_names
        size += pc.sum(pc.binary_length(rows["image"]) if packs else rows["bytes"]).as_py() or 0
        advance(len(rows))
        if size >= SHARD_BYTES:
            yield pa.concat_tables(group)
            group, size = [], 0
    if group:
        yield pa.concat_tables(group)


def _key(*made: Any) -> str:
    return hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]


def _require_free(out: Path, root: Path, progress: Path) -> None:
    """Refuse a folder that holds, or lies in, what is not ours to change."""
    if out.resolve().is_relative_to(root.expanduser().resolve()):
        raise ValueError(
            f"out={out}: lies in data.root={root}, which stays as it is; choose a folder elsewhere"
        )
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={out}: is a file; choose a folder")
    held = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if held and not progress.exists():
        raise ValueError(
            f"out={out}: holds other files, or other images packed, or packed in another way "
            f"({', '.join(held[:5])}); choose an empty or a new folder"
        )


@contextmanager
def _locked(folder: Path, key: str, named: Path | None) -> Iterator[None]:
    """Holds the lock of a folder, which the system releases when this process is killed.

    `key=named` is what the user gave.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock").acquire(timeout=0)
    except Timeout:
        raise ValueError(f"{key}={named}: another prepare is at work there; let it end") from None
    except OSError as error:
        why = error.strerror or error
        raise ValueError(
            f"{key}={named}: cannot be written ({why}); pass {key}=<a folder of yours>"
        ) from error
    with lock:
        yield
