"""prepare: every image of a root opened once, by all cores; packed on request.

Results are kept by chunk until all is done, so that a run that was killed goes on where it was.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from filelock import FileLock, Timeout

from deeper.data import manifest as manifests
from deeper.data.images.stored import StoredImages
from deeper.data.layouts import packed
from deeper.data.manifest import Manifest
from deeper.data.source import Source, Splits, prepare_once
from deeper.files import sweep, whole
from deeper.prepare import checksums as digests
from deeper.prepare import report
from deeper.prepare.checksums import Digest
from deeper.prepare.pack import how, pack, way
from deeper.prepare.verify import Chunk, Shrinking, Work, chunks
from deeper.prepare.workers import answers, cores

PARTIAL = ".partial"


@dataclass(frozen=True)
class Preparation:
    """What is wanted. `out` gets the packed form, where one is; `workers=0` is this process alone.

    `data` is the option of the group `data` that describes the source.
    """

    source: Source
    data: str
    root: Path
    cache: Path
    out: Path | None = None
    shrinking: Shrinking | None = None
    workers: int | Literal["auto"] = "auto"
    quarantine: bool = False

    def run(self) -> None:
        """Raises `ValueError` with the list of what is bad, unless it is to be quarantined."""
        with _alone(self._folder / "lock", "paths.cache", self.cache):
            splits = self._load()
            if self.out is None:
                self._verified(splits, self._folder / PARTIAL, None)
                report.next_command(self.data, self.root)
                return
            require_out(self.out, self.root)
            partial = self.out / PARTIAL
            with _alone(partial / "lock", "out", self.out):
                self._pack(splits, self.out, partial)
                shutil.rmtree(partial)

    def _pack(self, splits: Splits, out: Path, partial: Path) -> None:
        if packed.fits(out):
            self._require_same(out, way(self.shrinking))
            manifest, _ = self._verified(splits, self._folder / PARTIAL, None)
            about = self._require_same(out, how(manifest, self.shrinking))
            packed.load_splits(out)
        else:
            _require_own(partial, f"{self.root.resolve()} {self.shrinking}\n")
            manifest, results = self._verified(splits, partial, self.shrinking)
            with report.progress(len(manifest.table), "writing") as advance:
                about = pack(out, splits, manifest, results, self.shrinking, advance)
        report.packed(out, about)
        report.next_command("imagenet" if self.data == "imagenet" else "folder", out)

    def _require_same(self, out: Path, wanted: dict[str, Any]) -> dict[str, Any]:
        """packed.json of a packed form that was made so before."""
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
        for part in manifests.parts(splits).values():
            if not isinstance(part, StoredImages):
                raise ValueError(
                    f"data.root={self.root}: these images do not lie in files one by one, so there "
                    f"is nothing to verify; train on them as they are"
                )
        return splits

    def _verified(
        self, splits: Splits, partial: Path, shrinking: Shrinking | None
    ) -> tuple[Manifest, dict[str, list[Path]]]:
        """The manifest and the results of the chunks, by split; reported, and refused if bad."""
        partial.mkdir(parents=True, exist_ok=True)
        path = self._folder / manifests.FILE
        earlier = _earlier(path)
        seen = earlier.archives if earlier else {}
        parts = manifests.parts(splits)
        counts = {split: len(part) for split, part in parts.items()}
        work = Work(parts, splits.classes, partial, shrinking, path if earlier else None)
        tasks: list[Chunk | Digest] = [
            *digests.official(self.root, seen),
            *digests.shards(self.root),
            *chunks(counts),
        ]
        workers = min(cores(), len(tasks)) if self.workers == "auto" else self.workers
        answered: dict[Any, Any] = {}
        doing = "verifying" if shrinking is None else "shrinking"
        with report.progress(sum(counts.values()), doing) as advance:
            for task, answer in answers(work, tasks, workers):
                answered[task] = answer
                advance(task.images)
        digests.require_shards(self.root, answered)
        results = {
            split: [
                answered[task] for task in tasks if isinstance(task, Chunk) and task.split == split
            ]
            for split in parts
        }
        rows = pa.concat_tables(_rows(path) for paths in results.values() for path in paths)
        manifest = Manifest.of(rows, splits.classes, counts, digests.known(answered, seen))
        manifest.write(path)
        sweep(self._folder)
        if partial.parent == self._folder:
            shutil.rmtree(partial)
        report.verified(self.root, path, manifest)
        report.require_good(self._folder, manifest, self.quarantine)
        return manifest, results


def require_out(out: Path, root: Path) -> None:
    """Refuse a folder that holds, or lies in, what is not ours to change."""
    here, there = out.resolve(), root.expanduser().resolve()
    if here.is_relative_to(there):
        raise ValueError(
            f"out={out}: lies in data.root={root}, which stays as it is; choose a folder elsewhere"
        )
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={out}: is a file; choose a folder")
    ours = (PARTIAL, packed.FILE)
    if out.is_dir() and any(out.iterdir()) and not any((out / name).exists() for name in ours):
        raise ValueError(
            f"out={out}: holds other files ({', '.join(sorted(p.name for p in out.iterdir())[:5])}); "
            f"choose an empty or a new folder"
        )


def _require_own(partial: Path, what: str) -> None:
    """An unfinished packed form is gone on with only if it is of the same root and options."""
    note = partial / "of.txt"
    if note.exists() and note.read_text() != what:
        raise ValueError(
            f"out={partial.parent}: holds an unfinished packed form of {note.read_text().strip()}; "
            f"choose another folder, or remove it"
        )
    with whole(note) as temporary:
        temporary.write_text(what)


@contextmanager
def _alone(lock: Path, key: str, folder: Path) -> Iterator[None]:
    """Released by the system when its holder is killed."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock, timeout=0)
        held.acquire()
    except Timeout:
        raise ValueError(f"{key}={folder}: another prepare is at work there; let it end") from None
    except OSError as error:
        why = error.strerror or error
        raise ValueError(
            f"{key}={folder}: cannot be written ({why}); pass {key}=<a folder of yours>"
        ) from error
    try:
        yield
    finally:
        held.release()


def _earlier(manifest: Path) -> Manifest | None:
    """None for one that is damaged or of another version: it is made anew."""
    try:
        return Manifest.read(manifest) if manifest.exists() else None
    except ValueError:
        return None


def _rows(result: Path) -> pa.Table:
    """Of a chunk, as a manifest wants them: without the images."""
    columns = list(range(len(manifests.SCHEMA)))
    with pa.OSFile(str(result)) as file:
        options = pa.ipc.IpcReadOptions(included_fields=columns)
        return pa.ipc.open_file(file, options=options).read_all()
