"""What a network answered, kept: another model, or another question, need not run it again."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper.data.images.stored import ArchiveImages, FileImages
from deeper.data.source import LabelledImages
from deeper.data.splits import Subset
from deeper.files import beside, whole

Probabilities = NDArray[np.float32]
"""[N, K]"""

ROWS = 4096


class Kept:
    """`<cache>/probabilities/<key>/`: probabilities.npy, labels.npy, and in about.json what they are of.

    The key is a hash of `about`. Of ImageNet's 50,000 images a folder has 200 MB.
    """

    def __init__(self, cache: Path, about: Mapping[str, Any]) -> None:
        text = json.dumps(about, sort_keys=True, indent=1)
        self.about = text
        self.folder = cache / "probabilities" / hashlib.sha256(text.encode()).hexdigest()[:24]

    @staticmethod
    def require_writable(cache: Path) -> None:
        """Said before a network runs for hours."""
        folder = cache / "probabilities"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with beside(folder / "test") as path:
                path.touch()
        except OSError as error:
            raise ValueError(
                f"{folder}: {error.strerror}; what networks answer is kept there: pass "
                f"paths.cache=<a folder that can be written>"
            ) from error

    def there(self, labels: NDArray[np.int64]) -> bool:
        """Whole, and of these labels: what a crash cut is made again."""
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
        """Mapped. `ValueError` for a file that is not of these labels, or none."""
        path = self.folder / "probabilities.npy"
        try:
            found: Probabilities = np.load(path, mmap_mode="r", allow_pickle=False)
            kept = np.load(self.folder / "labels.npy", allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise ValueError(f"{self.folder}: damaged ({error}); remove the folder") from error
        if len(found) != len(labels) or not np.array_equal(kept, labels):
            raise ValueError(f"{self.folder}: of other labels than the data has; remove the folder")
        return found


def averaged(models: Sequence[Probabilities]) -> Iterator[Probabilities]:
    """§5: the mean over classifiers, some rows at a time. Summed in double precision."""
    for start in range(0, len(models[0]), ROWS):
        part = [model[start : start + ROWS] for model in models]
        yield part[0] if len(part) == 1 else np.mean(part, axis=0, dtype=np.float64)


def sampled(images: LabelledImages, count: int = 32) -> str:
    """A digest of some of the pictures, and of when each file was written: labels alone don't tell a
    set from another form of it, or from one in which a picture was replaced.
    """
    digest = hashlib.sha256(repr(_written(images)).encode())
    for index in np.unique(np.linspace(0, len(images) - 1, count).round().astype(int)):
        image, _ = images[int(index)]
        digest.update(image.tobytes() if isinstance(image, Image.Image) else image.data)
    return digest.hexdigest()[:16]


def _written(images: LabelledImages) -> list[tuple[int, int]]:
    """Bytes and time of the files of pictures; empty where they lie in other ways."""
    places = np.arange(len(images))
    part: Any = images
    while isinstance(part, Subset):
        part, places = part.images, part.indices[places]
    found: list[str] = []
    if isinstance(part, ArchiveImages):
        found = [os.fspath(path) for path in part.files]
    elif isinstance(part, FileImages):
        found = [part.where(int(place)) for place in places]
    stamps = []
    for path in found:
        with suppress(OSError):  # said where the picture is read
            stat = os.stat(path)
            stamps.append((stat.st_size, stat.st_mtime_ns))
    return stamps
