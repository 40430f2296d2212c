"""Writes the packed form: shards of about 256 MB, and packed.json when all of them are complete.

The same images and options give the same bytes, whatever was killed in between.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import PIL
import pyarrow as pa
import simplejpeg

from deeper.data.layouts import packed
from deeper.data.manifest import OK, Manifest, write_table
from deeper.files import file_digest, sweep, whole
from deeper.prepare.verify import Resize, Row


def write_shard(path: Path, rows: list[Row], classes: list[str]) -> None:
    """The readable images of `rows`. Hugging Face's `datasets` finds the class names in the metadata."""
    good = [row for row in rows if row["status"] == OK]
    features = {
        "image": {"dtype": "large_binary", "_type": "Value"},
        "label": {"names": classes, "_type": "ClassLabel"},
        "name": {"dtype": "string", "_type": "Value"},
    }
    columns = {
        "image": pa.array([row["image"] for row in good], pa.large_binary()),
        "label": pa.array([row["label"] for row in good], pa.int64()),
        "name": pa.array([row["name"] for row in good], pa.string()),
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    write_table(path, pa.table(columns).replace_schema_metadata(metadata))


def finish(
    out: Path, manifest: Manifest, shards: dict[str, list[str]], resize: Resize | None
) -> dict[str, Any]:
    """Write packed.json for the shards of each split, remove other ones, and return its content."""
    named = {name for names in shards.values() for name in names}
    for path in out.glob("*.arrow"):  # of an earlier start with more images
        if path.name not in named:
            path.unlink()
    sweep(out)
    splits: dict[str, Any] = {}
    for split, names in shards.items():
        bad = [{"name": name, "why": why} for of, name, why in manifest.bad() if of == split]
        listed = [_described(out / name) for name in names]
        count = sum(entry["images"] for entry in listed)
        splits[split] = {"images": count, "quarantined": bad, "shards": listed}
    content = {
        "format": packed.FORMAT,
        "fingerprint": packed.fingerprint(manifest.classes, splits),
        "made": made_of(manifest) | options(resize) | _versions(resize),
        "classes": manifest.classes,
        "splits": splits,
    }
    with whole(out / packed.FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    return content


def made_of(manifest: Manifest) -> dict[str, Any]:
    """A digest of the images that were packed."""
    digest = hashlib.sha256(json.dumps([manifest.classes, manifest.counts]).encode())
    for column in ("name", "label", "sha256", "status"):
        digest.update(repr(manifest.table[column].to_pylist()).encode())
    return {"images": digest.hexdigest()[:16]}


def options(resize: Resize | None) -> dict[str, Any]:
    """How they were packed."""
    if resize is None:
        return {"size": "original"}
    fixed = {"resampling": "lanczos", "restart_marker_rows": 1}
    return {"size": resize.size, "quality": resize.quality} | fixed


def _versions(resize: Resize | None) -> dict[str, str]:
    encoders = {"pillow": PIL.__version__, "simplejpeg": simplejpeg.__version__}
    return {"pyarrow": pa.__version__} | ({} if resize is None else encoders)


def _described(path: Path) -> dict[str, Any]:
    images = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0).num_rows
    size, digest = path.stat().st_size, file_digest(path)
    return {"file": path.name, "images": images, "bytes": size, "sha256": digest}
