"""Images and histograms of a run, as files `media/<key>/<step>.png` or `.json`: loggers copy them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FOLDER = "media"


class Medium(NamedTuple):
    step: int
    key: str
    file: Path
    """An image, or histograms as JSON."""


def media(run: Path) -> list[Medium]:
    """All of a run, in the order of steps."""
    folder = run / FOLDER
    return sorted(
        Medium(int(file.stem), file.parent.relative_to(folder).as_posix(), file)
        for file in (*folder.rglob("*.png"), *folder.rglob("*.json"))
        if file.stem.isdigit()
    )


def histograms(medium: Medium) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """`<key>/<name>`, counts [n] and edges [n + 1] of each in a file."""
    for name, (counts, edges) in json.loads(medium.file.read_text()).items():
        yield f"{medium.key}/{name}", np.array(counts), np.array(edges)
