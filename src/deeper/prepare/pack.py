"""From verified chunks to the packed form: shards of about 256 MB, and packed.json when all stand.

The same images and options give the same bytes, whatever was killed in between.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import PIL
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg

from deeper.data.images.stored import StoredImages
from deeper.data.layouts import packed
from deeper.data.manifest import OK, Manifest, parts
from deeper.data.source import Splits
from deeper.files import require_space, sweep, whole
from deeper.prepare.checksums import Digest
from deeper.prepare.verify import Shrinking

SHARD_BYTES = 256 * 2**20
READERS = 8
"""Threads that read original images: what costs time there is the disk's or the network's answer."""


class Shard(NamedTuple):
    """A shard to be: whole chunks, as many as fill it."""

    path: Path
    rows: pa.Table
    """Of its chunks, still where they lie in their files; bad images too."""
    first: int
    """The place of its first row in the split."""
    bytes: int
    key: str
    """Of the images and of what is done to them; stands in the file."""


def pack(
    out: Path,
    splits: Splits,
    manifest: Manifest,
    results: dict[str, list[Path]],
    shrinking: Shrinking | None,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Write `out` from the results of its chunks, by split and in order; answer packed.json.

    Without `shrinking` the images' own bytes are read again, and must be those that were verified.
    `advance` is told how many images are done.
    """
    planned = {
        split: [*_plan(out / split, paths, [*splits.classes, shrinking])]
        for split, paths in results.items()
    }
    keys = {shard.path: shard.key for shards in planned.values() for shard in shards}
    for path in out.glob("*.arrow"):  # an earlier start made it, and an image was replaced since
        if _key_in(path) != keys.get(path):
            path.unlink()
    missing = sum(s.bytes for shards in planned.values() for s in shards if not s.path.exists())
    require_space(out, missing, "out")
    about: dict[str, Any] = {}
    for split, shards in planned.items():
        for shard in shards:
            if not shard.path.exists():
                _write(shard, _images(shard, parts(splits)[split]), splits.classes)
            advance(len(shard.rows))
        bad = [{"name": name, "why": why} for of, name, why in manifest.bad() if of == split]
        listed = [_described(shard.path) for shard in shards]
        count = sum(entry["images"] for entry in listed)
        about[split] = {"images": count, "quarantined": bad, "shards": listed}
    sweep(out)
    content = {
        "format": packed.FORMAT,
        "fingerprint": packed.fingerprint(splits.classes, about),
        "made": how(manifest, shrinking) | _versions(shrinking),
        "classes": splits.classes,
        "splits": about,
    }
    with whole(out / packed.FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    return content


def how(manifest: Manifest, shrinking: Shrinking | None) -> dict[str, Any]:
    """What was packed, and in which way: where both are the same, it need not be done again."""
    images = hashlib.sha256(json.dumps([manifest.classes, manifest.counts]).encode())
    for column in ("name", "label", "sha256", "status"):
        images.update(_content(manifest.table[column]))
    return {"images": images.hexdigest()[:16]} | way(shrinking)


def way(shrinking: Shrinking | None) -> dict[str, Any]:
    if shrinking is None:
        return {"size": "original"}
    options = {"resampling": "lanczos", "restart_marker_rows": 1}
    return {"size": shrinking.size, "quality": shrinking.quality} | options


def _versions(shrinking: Shrinking | None) -> dict[str, str]:
    encoders = {"pillow": PIL.__version__, "simplejpeg": simplejpeg.__version__}
    return {"pyarrow": pa.__version__} | ({} if shrinking is None else encoders)


def _plan(split: Path, paths: Sequence[Path], of: list[Any]) -> Iterator[Shard]:
    """Shards named after `split`, from the results at `paths`; `of` is what else they depend on."""
    tables: list[pa.Table] = []
    size = first = number = 0
    for place, path in enumerate(paths, 1):
        tables.append(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
        size += _bytes(tables[-1])
        if size >= SHARD_BYTES or place == len(paths):
            rows = pa.concat_tables(tables)
            key = hashlib.sha256(repr(of).encode())
            for column in ("name", "label", "sha256", "status"):
                key.update(_content(rows[column]))
            file = split.with_name(f"{split.name}-{number:05d}.arrow")
            yield Shard(file, rows, first, size, key.hexdigest()[:16])
            tables, size, first, number = [], 0, first + len(rows), number + 1


def _bytes(rows: pa.Table) -> int:
    """What the good images of a chunk take."""
    if "image" in rows.column_names:
        return int(pc.sum(pc.binary_length(rows["image"])).as_py() or 0)
    return int(pc.sum(rows["bytes"].filter(pc.equal(rows["status"], OK))).as_py() or 0)


def _content(column: pa.ChunkedArray) -> bytes:
    """The same for the same values, however the column is laid out."""
    return repr(column.to_pylist()).encode()


def _key_in(path: Path) -> str | None:
    """Of a shard that stands."""
    try:
        metadata = pa.ipc.open_file(pa.memory_map(str(path))).schema.metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    return str(metadata.get(b"deeper", b"").decode())


def _images(shard: Shard, part: StoredImages) -> pa.Table:
    """The records of a shard: what is good, in order."""
    good = pc.equal(shard.rows["status"], OK)
    rows = shard.rows if pc.all(good).as_py() else shard.rows.filter(good)
    if "image" in rows.column_names:
        return rows.select(["image", "label", "name"])
    places = [shard.first + i for i, ok in enumerate(good.to_pylist()) if ok]
    with ThreadPoolExecutor(READERS) as readers:
        images = list(readers.map(part.read, places))
    for image, name, digest in zip(
        images, rows["name"].to_pylist(), rows["sha256"].to_pylist(), strict=True
    ):
        if hashlib.sha256(image).digest() != digest:
            raise ValueError(f"{name} has changed since it was verified; run prepare again")
    columns = [pa.array(images, pa.large_binary()), rows["label"], rows["name"]]
    return pa.table(columns, names=["image", "label", "name"])


def _write(shard: Shard, images: pa.Table, classes: list[str]) -> None:
    """One record batch. Hugging Face's `datasets` finds the class names in the metadata."""
    features = {
        "image": {"dtype": "large_binary", "_type": "Value"},
        "label": {"names": classes, "_type": "ClassLabel"},
        "name": {"dtype": "string", "_type": "Value"},
    }
    metadata = {
        "deeper": shard.key,
        "huggingface": json.dumps({"info": {"features": features}}),
    }
    table = images.replace_schema_metadata(metadata).combine_chunks()
    with (
        whole(shard.path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=max(len(table), 1))


def _described(path: Path) -> dict[str, Any]:
    digest = Digest(path, "sha256").value()
    images = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0).num_rows
    return {"file": path.name, "images": images, "bytes": path.stat().st_size, "sha256": digest}
