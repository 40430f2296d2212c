"""Verifies every image of a root, and packs them on request.

Images are done in groups that fill a shard of the packed form. What a group found is kept until all
are done, so that a run that was killed goes on after the last complete one.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from filelock import FileLock, Timeout

from deeper.data import manifest as manifests
from deeper.data.images.stored import StoredImages
from deeper.data.layouts import packed
from deeper.data.loader import cores
from deeper.data.manifest import OK, SCHEMA, Manifest, write_table
from deeper.data.source import Source, Splits, prepare_once
from deeper.files import sweep, whole
from deeper.prepare import pack, report
from deeper.prepare.checksums import archive_digests, require_shards
from deeper.prepare.verify import Resize, Row, Verifier, listing, original, verify

SHARD_BYTES = 256 * 2**20
PROGRESS = ".partial"
"""The folder of what an unfinished run has found."""


@dataclass(frozen=True)
class Preparation:
    """What `prepare.py` is asked to do. `data` is the option of the config group `data`.

    `out` is the folder of the packed form, None where none is wanted; without `resize` images are
    packed as they are. `workers=0` is this process alone.
    """

    source: Source
    data: str
    root: Path
    cache: Path
    out: Path | None = None
    resize: Resize | None = None
    workers: int | Literal["auto"] = "auto"
    quarantine: bool = False

    def run(self) -> None:
        """Raises `ValueError` with the list of unreadable images, unless they are to be quarantined."""
        with _locked(self._folder, "paths.cache", self.cache):
            splits = self._load()
            if self.out is None:
                self._verify(splits)
                report.next_command(self.data, self.root)
                return
            require_out(self.out, self.root)
            with _locked(self.out / PROGRESS, "out", self.out):
                self._pack(splits, self.out)
                shutil.rmtree(self.out / PROGRESS)

    def _pack(self, splits: Splits, out: Path) -> None:
        if packed.fits(out):
            self._require_same(out, pack.options(self.resize))
            manifest, _ = self._verify(splits)
            about = self._require_same(out, pack.made_of(manifest))
            packed.load_splits(out)
        else:
            _require_own(out, f"{self.root.resolve()} {self.resize}\n")
            manifest, shards = self._verify(splits, out)
            about = pack.finish(out, manifest, shards, self.resize)
        report.packed(out, about)
        report.next_command("imagenet" if self.data == "imagenet" else "folder", out)

    def _require_same(self, out: Path, wanted: dict[str, Any]) -> dict[str, Any]:
        """The content of an earlier packed.json, made of the same images with the same options."""
        about = packed.read(out)
        if differ := [key for key in wanted if about["made"].get(key) != wanted[key]]:
            raise ValueError(
                f"out={out}: holds a packed form of other {' and '.join(differ)} already; choose "
                f"another folder, or remove it"
            )
        return about

    @property
    def _folder(self) -> Path:
        return manifests.folder(self.cache, self.root)

    def _load(self) -> Splits:
        prepare_once(self.source, self.root, self.cache)
        splits = self.source.load()
        for images in manifests.named_splits(splits).values():
            if not isinstance(images, StoredImages):
                raise ValueError(
                    f"data.root={self.root}: these images do not lie in files one by one, so there "
                    f"is nothing to verify; train on them as they are"
                )
        return splits

    def _verify(
        self, splits: Splits, out: Path | None = None
    ) -> tuple[Manifest, dict[str, list[str]]]:
        """The manifest, and the names of the shards in `out` by split.

        Prints what was found. Raises `ValueError` for unreadable images.
        """
        path, progress = self._folder / manifests.FILE, (out or self._folder) / PROGRESS
        progress.mkdir(exist_ok=True)
        earlier = _earlier(path)
        parts = manifests.named_splits(splits)
        require_shards(self.root)
        archives = archive_digests(self.root, earlier.archives if earlier else {})
        counts = {split: len(images) for split, images in parts.items()}
        to_pack = None if out is None else self.resize or original
        tables, shards = [SCHEMA.empty_table()], {}
        with report.progress(sum(counts.values()), "packing" if out else "verifying") as advance:
            for split, images in parts.items():
                verifier = Verifier(
                    split, images, splits.classes, to_pack, path if earlier else None
                )
                groups = Groups(verifier, progress, out, repr((self.resize, splits.classes)))
                found = groups.all(self._workers(), advance)
                tables += found
                shards[split] = [groups.name(number) for number in range(len(found))]
        manifest = Manifest.of(pa.concat_tables(tables), splits.classes, counts, archives)
        manifest.write(path)
        sweep(self._folder)
        if out is None:
            shutil.rmtree(progress)
        report.verified(self.root, path, manifest)
        report.require_good(self._folder, manifest, self.quarantine)
        return manifest, shards

    def _workers(self) -> int:
        return cores() if self.workers == "auto" else self.workers


@dataclass(frozen=True)
class Groups:
    """Groups of consecutive images of a split, each with a table of rows in `progress` and, where
    images are packed, a shard in `out`. A table stands for a complete group.
    """

    verifier: Verifier
    progress: Path
    out: Path | None
    options: str
    """What the shards depend on besides the images."""

    def name(self, number: int) -> str:
        return f"{self.verifier.split}-{number:05d}.arrow"

    def all(self, workers: int, advance: Callable[[int], None]) -> list[pa.Table]:
        """The tables of all groups; `advance` is called with the number of images done since."""
        tables: list[pa.Table] = []
        start = 0
        while (table := self._finished(len(tables), start)) is not None:
            tables.append(table)
            start += len(table)
            advance(len(table))
        group, size = list[Row](), 0
        for rows in verify(self.verifier, start, workers):
            group += rows
            size += sum(map(_size, rows))
            advance(len(rows))
            if size >= SHARD_BYTES:
                tables.append(self._write(len(tables), group))
                group, size = [], 0
        if group:
            tables.append(self._write(len(tables), group))
        return tables

    def _write(self, number: int, group: list[Row]) -> pa.Table:
        if self.out is not None:
            pack.write_shard(self.out / self.name(number), group, self.verifier.classes)
        columns = {name: [row[name] for row in group] for name in SCHEMA.names}
        table = pa.table(columns, schema=SCHEMA.with_metadata({"options": self._key}))
        write_table(self.progress / self.name(number), table)
        return table.replace_schema_metadata(None)

    def _finished(self, number: int, start: int) -> pa.Table | None:
        """The table of a group that an earlier start completed, if its images are the same and what
        was unreadable is so still.
        """
        path = self.progress / self.name(number)
        if not path.exists() or (self.out and not (self.out / self.name(number)).exists()):
            return None
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        images = self.verifier.images
        if start + len(table) > len(images) or table.schema.metadata != {b"options": self._key}:
            return None
        listed = listing(images, range(start, start + len(table)))
        for place, (row, now) in enumerate(zip(table.to_pylist(), listed, strict=True), start):
            if not now.items() <= row.items():
                return None
            if row["status"] != OK and self.verifier.verified(place, now)["status"] == OK:
                return None
        return table.replace_schema_metadata(None)

    @property
    def _key(self) -> bytes:
        return hashlib.sha256(self.options.encode()).hexdigest().encode()


def _size(row: Row) -> int:
    """Bytes of an image in its shard; where none is written, of its file."""
    return len(row["image"] or b"") if "image" in row else int(row["bytes"])


def require_out(out: Path, root: Path) -> None:
    """Refuse a folder that holds, or lies in, what is not ours to change."""
    here, there = out.resolve(), root.expanduser().resolve()
    if here.is_relative_to(there):
        raise ValueError(
            f"out={out}: lies in data.root={root}, which stays as it is; choose a folder elsewhere"
        )
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={out}: is a file; choose a folder")
    ours = (PROGRESS, packed.FILE)
    if out.is_dir() and any(out.iterdir()) and not any((out / name).exists() for name in ours):
        raise ValueError(
            f"out={out}: holds other files ({', '.join(sorted(p.name for p in out.iterdir())[:5])}); "
            f"choose an empty or a new folder"
        )


def _require_own(out: Path, made_of: str) -> None:
    """Refuse to go on with an unfinished packed form of another root or of other options."""
    note = out / PROGRESS / "of.txt"
    if note.exists() and note.read_text() != made_of:
        raise ValueError(
            f"out={out}: holds an unfinished packed form of {note.read_text().strip()}; choose "
            f"another folder, or remove it"
        )
    with whole(note) as temporary:
        temporary.write_text(made_of)


@contextmanager
def _locked(folder: Path, key: str, named: Path) -> Iterator[None]:
    """Holds the lock of a folder, which the system releases when this process is killed.

    `key=named` is what the user gave.
    """
    lock = FileLock(folder / "lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ValueError(f"{key}={named}: another prepare is at work there; let it end") from None
    except OSError as error:
        why = error.strerror or error
        raise ValueError(
            f"{key}={named}: cannot be written ({why}); pass {key}=<a folder of yours>"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _earlier(path: Path) -> Manifest | None:
    """The manifest of an earlier run; None for one that is damaged or of another version."""
    try:
        return Manifest.read(path) if path.exists() else None
    except ValueError:
        return None
