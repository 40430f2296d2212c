"""On-disk cache of predicted probabilities, so that no network runs twice on the same crops."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deeper.data.images.stored import StoredImages
from deeper.data.source import LabelledImages
from deeper.data.splits import Subset
from deeper.files import whole

Probabilities = NDArray[np.float32]
"""[N, K]"""


class CachedProbabilities:
    """`<cache>/probabilities/<key>/` with probabilities.npy, and what they are of in about.json.

    The key is a hash of `about`. ImageNet's 50,000 images take 200 MB.
    """

    def __init__(self, cache: Path, about: Mapping[str, Any]) -> None:
        self.about = json.dumps(about, sort_keys=True, indent=1)
        key = hashlib.sha256(self.about.encode()).hexdigest()[:24]
        self.folder = cache / "probabilities" / key
        self._file = self.folder / "probabilities.npy"

    def prepare(self) -> None:
        """Write about.json: a folder that cannot be written is refused before a network runs for hours."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole(self.folder / "about.json") as path:
                path.write_text(self.about + "\n")
        except OSError as error:
            raise ValueError(
                f"{self.folder}: {error.strerror}; predicted probabilities are cached there: pass "
                f"paths.cache=<a folder that can be written>"
            ) from error

    def write(self, probabilities: Tensor) -> None:
        with whole(self._file) as path, path.open("wb") as file:
            np.save(file, probabilities.numpy(), allow_pickle=False)

    def read(self) -> Probabilities:
        """Memory-mapped."""
        probabilities: Probabilities = np.load(self._file, mmap_mode="r", allow_pickle=False)
        return probabilities

    def exists(self) -> bool:
        """Whether there is a file, and it is whole."""
        try:
            self.read()
        except (OSError, EOFError, ValueError):
            return False
        return True


def averaged(models: Sequence[Probabilities]) -> NDArray[np.float64]:
    """§5: the mean over models, summed in double precision."""
    total = models[0].astype(np.float64)
    for model in models[1:]:
        total += model
    return total / len(models)


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
