"""From the numbers of the Hugging Face Hub's files to places among sorted class names.

The Hub's imagenet-1k numbers by sorted wnid and calls its classes by their words ("tench, Tinca
tinca"); derived sets number as they like. Paths in the files often carry the wnid of their image.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from deeper.data import classes as ilsvrc

WNID = re.compile(r"(?<![A-Za-z0-9])n\d{8}(?!\d)")
SPELT_OTHERWISE = 20
"""Of 1000 words: how many may be written in another way ("crane2") and still be ImageNet's."""


class HubLabels:
    """What all files of a data set together say of its classes. Each contradiction is an error."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: list[str] | None = None
        self._wnids: dict[int, tuple[str, str]] = {}  # label → wnid, and a path that says so
        self._highest = -1
        self._classes: list[str] | None = None

    def hear(
        self, file: Path, schema: pa.Schema, images: pa.StructArray, labels: NDArray[np.int64]
    ) -> None:
        """The names in a file's schema, and the wnids in the paths of its rows."""
        names = _names(schema)
        if self.names is not None and names is not None and names != self.names:
            raise ValueError(f"{file} has other class names than the files before it")
        self.names = self.names or names
        if len(labels) and labels.min() < 0:
            raise ValueError(f"{file} has rows without a label ({labels.min()})")
        self._highest = max(self._highest, int(labels.max(initial=-1)))
        for path, label in zip(images.field("path").to_pylist(), labels.tolist(), strict=True):
            if path and len(found := set(WNID.findall(path.rpartition("/")[2]))) == 1:
                wnid = found.pop()
                known, example = self._wnids.setdefault(label, (wnid, path))
                if known != wnid:
                    raise ValueError(
                        f"{file}: {path} has the label {label}, as {example} has; one of them is wrong"
                    )

    @property
    def classes(self) -> list[str]:
        return sorted(self._numbered())

    def sorted(self, split: str, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Labels as places in `classes`."""
        numbered = self._numbered()
        absent = np.flatnonzero(np.bincount(labels, minlength=len(numbered)) == 0)
        if absent.size:
            raise ValueError(f"{self.root}: {split} has no image of class {numbered[absent[0]]}")
        places = {name: place for place, name in enumerate(self.classes)}
        return np.array([places[name] for name in numbered], dtype=np.int64)[labels]

    def _numbered(self) -> list[str]:
        """The class of each number: a wnid wherever one is known."""
        if self._classes is None:
            self._classes = self._resolved()
        return self._classes

    def _resolved(self) -> list[str]:
        count = self._highest + 1
        if self.names is not None and count > len(self.names):
            raise ValueError(
                f"{self.root}: label {count - 1}, but {len(self.names)} class names in the schema"
            )
        told = [self._wnids[label][0] for label in range(count) if label in self._wnids]
        names = _as_wnids(self.names) if self.names is not None else None
        if names is None:
            if len(told) == count:
                names = told
            elif count == len(ilsvrc.wnids()):
                names = [*ilsvrc.wnids()]
            else:
                raise ValueError(
                    f"{self.root}: {count} classes without names, neither in the schema of the files nor "
                    f"as wnids in their paths; only the 1000 of ImageNet go without"
                )
        elif len(told) == len(names) and not all(map(WNID.fullmatch, names)):
            names = told  # words that are not ImageNet's
        if len(set(names)) < len(names):
            twice = next(name for place, name in enumerate(names) if name in names[:place])
            raise ValueError(f"{self.root}: two labels are called {twice!r}")
        for label, (wnid, path) in self._wnids.items():
            if WNID.fullmatch(names[label]) and names[label] != wnid:
                raise ValueError(
                    f"{self.root}: {path} has the label {label}, which is {names[label]} "
                    f"({ilsvrc.words(names[label])}) by the class names; one of them is wrong"
                )
        return names


def _names(schema: pa.Schema) -> list[str] | None:
    """As the library `datasets` keeps them beside the columns."""
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] or None


def _as_wnids(names: Sequence[str]) -> list[str]:
    """ImageNet's words as their wnids; other names as they are."""
    if all(map(WNID.fullmatch, names)):
        return [*names]
    synsets = ilsvrc.synsets()
    if len(names) == len(synsets):
        other = sum(not _alike(name, s.words) for name, s in zip(names, synsets, strict=True))
        if other <= SPELT_OTHERWISE:
            return [synset.wnid for synset in synsets]
    by_words: dict[str, list[str]] = {}
    for synset in synsets:
        by_words.setdefault(synset.words.lower(), []).append(synset.wnid)
    found = [by_words.get(name.lower(), []) for name in names]
    if all(len(wnids) == 1 for wnids in found):
        return [wnids[0] for wnids in found]
    return [*names]


def _alike(name: str, words: str) -> bool:
    """Whether they share a synonym."""
    return bool(
        {w.strip().lower() for w in name.split(",")} & {w.strip().lower() for w in words.split(",")}
    )
