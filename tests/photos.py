"""Small sets of images in train|val/<class>/, good and bad, and prepare run on them."""

import hashlib
import io
import os
import struct
import time
from pathlib import Path

import numpy as np
from PIL import Image

from deeper.data.manifest import Manifest
from deeper.data.sources.folder import Folder
from deeper.prepare import prepare as preparing

CLASSES = ("ant", "bee", "cat")


def jpeg(seed: int, size: tuple[int, int] = (90, 60), mode: str = "RGB", **options) -> bytes:
    """A smooth image, which compresses well; every seed gives another."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 5, {"RGB": 3, "L": 1, "CMYK": 4}[mode]), np.uint8)
    picture = Image.fromarray(coarse.squeeze(), mode).resize(size, Image.Resampling.BICUBIC)
    return encoded(picture, "JPEG", quality=90, **options)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format=kind, **options)
    return stream.getvalue()


def make(root: Path, each: int = 4, splits=("train", "val"), size=(90, 60)) -> Path:
    """Images in root/<split>/<class>/, an hour old."""
    seed, past = 0, time.time() - 3600
    for split in splits:
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for number in range(each):
                seed += 1
                path = root / split / name / f"{number:04d}.JPEG"
                path.write_bytes(jpeg(seed, (size[0] + seed % 7, size[1] + seed % 5)))
    for path in [root, *root.rglob("*")]:
        os.utime(path, (past, past))
    return root


def bomb() -> bytes:
    """A JPEG whose header claims 30,000 × 30,000 pixels."""
    data = bytearray(jpeg(0))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 30_000, 30_000)
    return bytes(data)


def bad_exif() -> bytes:
    junk = b"Exif\0\0" + b"MM\0*\xff\xff\xff\xff" + bytes(range(64))
    return jpeg(5)[:2] + b"\xff\xe1" + struct.pack(">H", len(junk) + 2) + junk + jpeg(5)[2:]


WHOLE = jpeg(1, (200, 150))
UNREADABLE = {
    "cut_10": WHOLE[: len(WHOLE) // 10],
    "cut_50": WHOLE[: len(WHOLE) // 2],
    "cut_99": WHOLE[: len(WHOLE) * 99 // 100],
    "empty": b"",
    "text": b"<html>404 not found</html>",
    "bomb": bomb(),
    "dangling": None,
}
ODD = {
    "png_named_jpeg": encoded(
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)), "PNG"
    ),
    "cmyk": jpeg(2, mode="CMYK"),
    "grey": jpeg(3, mode="L"),
    "rgba": encoded(Image.new("RGBA", (30, 20), (9, 8, 7, 6)), "PNG"),
    "palette": encoded(Image.new("P", (30, 20), 3), "PNG"),
    "bad_exif": bad_exif(),
}


def spoil(root: Path, each: int = 1) -> tuple[list[str], list[str]]:
    """Add unreadable and odd images to train; returns the names of the unreadable and of the odd ones."""
    names: tuple[list[str], list[str]] = ([], [])
    for kinds, found in zip((UNREADABLE, ODD), names, strict=True):
        for number in range(each):
            for place, (kind, data) in enumerate(kinds.items()):
                name = f"train/{CLASSES[place % len(CLASSES)]}/{kind}_{number}.JPEG"
                if data is None:
                    (root / name).symlink_to("/nowhere/at/all.JPEG")
                else:
                    (root / name).write_bytes(data)
                found.append(name)
    return sorted(names[0]), sorted(names[1])


def prepare(root: Path, cache: Path, out: Path | None = None, **options) -> Manifest:
    """Run prepare, in this process unless `workers` is given."""
    source = Folder(root, cache, layout=options.pop("layout", "auto"))
    preparing.prepare(source, root, cache, out=out, **options)
    manifest = Manifest.of_root(cache, root)
    assert manifest is not None
    return manifest


def digests(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder; of a link its target."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }
