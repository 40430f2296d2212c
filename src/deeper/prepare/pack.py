"""Writes the packed form: shards of about 256 MB, and packed.json when all of them are complete.

The same images and options give the same bytes, whatever was killed in between.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import PIL
import pyarrow as pa
import simplejpeg

from deeper.data.layouts import packed
from deeper.data.manifest import Manifest, read_table, readable, write_table
from deeper.files import file_digest, remove_temporary, whole
from deeper.prepare.verify import Resize


def write_shard(path: Path, rows: pa.Table, classes: list[str]) -> None:
    """The readable images of `rows`. Hugging Face's `datasets` finds the class names in the metadata."""
    features = {
        "image": {"dtype": "large_binary", "_type": "Value"},
        "label": {"names": classes, "_type": "ClassLabel"},
        "name": {"dtype": "string", "_type": "Value"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    good = rows.filter(readable(rows)).select(list(features))
    write_table(path, good.replace_schema_metadata(metadata))


def options(resize: Resize | None) -> dict[str, Any]:
    """How images are packed."""
    if resize is None:
        return {"size": "original"}
    fixed = {"resampling": "lanczos", "restart_marker_blocks": "1..4"}
    return {"size": resize.size, "quality": resize.quality} | fixed


def finish(
    out: Path, manifest: Manifest, shards: Mapping[str, list[str]], made: Mapping[str, Any]
) -> None:
    """Write packed.json for the shards of each split, and remove other ones."""
    named = {name for names in shards.values() for name in names}
    for path in out.glob("*.arrow"):  # of an earlier start with larger images
        if path.name not in named:
            path.unlink()
    remove_temporary(out)
    splits: dict[str, Any] = {}
    for split, names in shards.items():
        bad = [{"name": name, "why": why} for of, name, why in manifest.bad() if of == split]
        listed = [_described(out / name) for name in names]
        count = sum(entry["images"] for entry in listed)
        splits[split] = {"images": count, "quarantined": bad, "shards": listed}
    versions = {"pyarrow": pa.__version__, "pillow": PIL.__version__}
    content = {
        "format": packed.FORMAT,
        "fingerprint": packed.fingerprint(manifest.classes, splits),
        "made": {**made, **versions, "simplejpeg": simplejpeg.__version__},
        "classes": manifest.classes,
        "splits": splits,
    }
    with whole(out / packed.FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def _described(path: Path) -> dict[str, Any]:
    images, size = len(read_table(path)), path.stat().st_size
    return {"file": path.name, "images": images, "bytes": size, "sha256": file_digest(path)}
