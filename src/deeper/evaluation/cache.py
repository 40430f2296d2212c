"""On-disk cache of predicted probabilities, so that no network runs twice on the same crops."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.data.images.stored import StoredImages
from deeper.data.source import LabelledImages
from deeper.data.splits import Subset
from deeper.files import beside, whole

Probabilities = NDArray[np.float32]
"""[N, K]"""

BLOCK = 4096
"""Images whose probabilities are averaged at a time."""


class CachedProbabilities:
    """`<cache>/probabilities/<key>/` with probabilities.npy, labels.npy, and the key's values in about.json.

    The key is a hash of `about`. ImageNet's 50,000 images take 200 MB.
    """

    def __init__(self, cache: Path, about: Mapping[str, Any]) -> None:
        self.about = json.dumps(about, sort_keys=True, indent=1)
        key = hashlib.sha256(self.about.encode()).hexdigest()[:24]
        self.folder = cache / "probabilities" / key

    def exists(self, labels: NDArray[np.int64]) -> bool:
        """Whether the files are whole and belong to these labels."""
        try:
            self.read(labels)
        except ValueError:
            return False
        return True

    def write(self, probabilities: Probabilities, labels: NDArray[np.int64]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole(self.folder / "about.json") as path:
            path.write_text(self.about + "\n")
        for name, array in (("labels.npy", labels), ("probabilities.npy", probabilities)):
            with whole(self.folder / name) as path, path.open("wb") as file:
                np.save(file, array, allow_pickle=False)

    def read(self, labels: NDArray[np.int64]) -> Probabilities:
        """Memory-mapped. `ValueError` for a damaged file or one of other labels."""
        path = self.folder / "probabilities.npy"
        try:
            found: Probabilities = np.load(path, mmap_mode="r", allow_pickle=False)
            stored = np.load(self.folder / "labels.npy", allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise ValueError(f"{self.folder}: damaged ({error}); remove the folder") from error
        if len(found) != len(labels) or not np.array_equal(stored, labels):
            raise ValueError(f"{self.folder}: of other labels than the data has; remove the folder")
        return found


def require_writable(cache: Path) -> None:
    """Refuse a cache that cannot be written, before a network runs for hours."""
    folder = cache / "probabilities"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with beside(folder / "test") as path:
            path.touch()
    except OSError as error:
        raise ValueError(
            f"{folder}: {error.strerror}; predicted probabilities are cached there: pass "
            f"paths.cache=<a folder that can be written>"
        ) from error


def averaged(models: Sequence[Probabilities]) -> Iterator[Probabilities]:
    """§5: the mean over models in blocks of images, summed in double precision."""
    for start in range(0, len(models[0]), BLOCK):
        block = [model[start : start + BLOCK] for model in models]
        yield block[0] if len(block) == 1 else np.mean(block, axis=0, dtype=np.float64)


def files_digest(images: LabelledImages) -> str:
    """A digest of the sizes and times of change of all files that hold the images, so that a replaced
    image is noticed. The fingerprint of the data covers names, labels, and images without files.
    """
    places: NDArray[np.int64] = np.arange(len(images))
    part: Any = images
    while isinstance(part, Subset):
        part, places = part.images, part.indices[places]
    stored = isinstance(part, StoredImages)
    paths = sorted({part.path(int(i)) for i in places}) if stored else []
    stamps = []
    for path in paths:
        with suppress(OSError):  # the error is reported where the image is read
            status = os.stat(path)
            stamps.append((status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]
