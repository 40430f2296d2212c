"""The lists that label the images of a flat val/: the devkit's, Kaggle's, and what others derived."""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeper.data import classes as ilsvrc
from deeper.data.layouts import tar
from deeper.data.layouts.listing import require_same
from deeper.data.layouts.lists import LISTS, OFFICIAL, Key, devkit_ids

DEVKITS = ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_devkit_t12.tar")
MAX_DEVKIT = 1 << 26
"""Bytes, unpacked."""


class GroundTruth:
    """Classes of images, as `source` gives them: a wnid, or a place among the sorted ones."""

    def __init__(self, source: Path, given: Mapping[Key, Key]) -> None:
        self.source, self.given = source, given
        self._numbered = all(isinstance(key, int) for key in given)

    def labels(self, root: Path, names: list[str], classes: list[str]) -> NDArray[np.int64]:
        """One for each of `names` (file names), in their order. `ValueError` names the culprit."""
        keys = [self._key(name) for name in names]
        if missing := [
            name for name, key in zip(names, keys, strict=True) if key not in self.given
        ]:
            raise ValueError(
                f"{root}: the image {missing[0]}{_more(missing)} has no label in {self.source}"
            )
        known = set(keys)
        if len(known) < len(keys):
            key = next(key for key, count in Counter(keys).items() if count > 1)
            twice = [name for name, k in zip(names, keys, strict=True) if k == key]
            raise ValueError(f"{root}: {' and '.join(twice)} are one image in {self.source}")
        if extra := [key for key in self.given if key not in known]:
            raise ValueError(
                f"{self.source} labels image {extra[0]}{_more(extra)}, which is not in {root}"
            )
        self._require_numbers(names, classes)
        places = {name: place for place, name in enumerate(classes)}
        found = []
        for name, key in zip(names, keys, strict=True):
            wnid = self.given[key]
            if isinstance(wnid, str) and wnid not in places:
                raise ValueError(
                    f"{self.source} says that {name} is {wnid}, which is no class of train/"
                )
            found.append(places[wnid] if isinstance(wnid, str) else wnid)
        require_same(root.parent, classes, root.name, [classes[label] for label in set(found)])
        return np.array(found, dtype=np.int64)

    def _key(self, name: str) -> Key:
        stem = name.rpartition(".")[0]
        if not self._numbered:
            return stem
        if (number := re.search(r"\d+$", stem)) is None:
            raise ValueError(
                f"{self.source} has a line for each image in the order of their numbers, and {name} has "
                f"no number; a list of names and wnids would do"
            )
        return int(number[0])

    def _require_numbers(self, names: list[str], classes: list[str]) -> None:
        """Places follow an order that only some images of ILSVRC 2012, which are known, can confirm."""
        numbers = {value for value in self.given.values() if isinstance(value, int)}
        if not numbers:
            return
        if classes != list(ilsvrc.wnids()) or not set(ilsvrc.FIRST_OF_VAL) <= set(names):
            raise ValueError(
                f"{self.source} has numbers for classes, which may follow any order; only for all of "
                f"ILSVRC 2012 can that be told. Replace them by wnids, the names of the folders of train/"
            )
        if (min(numbers), max(numbers)) != (0, len(classes) - 1):
            raise ValueError(
                f"{self.source} has numbers from {min(numbers)} to {max(numbers)}; places among "
                f"{len(classes)} sorted wnids run from 0 to {len(classes) - 1}, so these count otherwise"
            )


def labels(
    root: Path, names: list[str], classes: list[str], places: list[Path]
) -> tuple[NDArray[np.int64], list[Path]]:
    """Labels of the images `names` of the flat folder `root`, and the lists they stand in.

    `places` are the folders where a list may lie. All that are found must agree.
    """
    found = [*_lists(places)]
    if not found:
        raise ValueError(
            f"{root} holds images without class folders, and no list of their classes lies in "
            f"{' or '.join(map(str, places))}; expected {DEVKITS[0]}, {', '.join(LISTS)}"
        )
    first, *others = (truth.labels(root, names, classes) for truth in found)
    for other, truth in zip(others, found[1:], strict=True):
        if (differ := np.flatnonzero(first != other)).size:
            i = int(differ[0])
            raise ValueError(
                f"{found[0].source} says that {names[i]} is {classes[first[i]]}, and {truth.source} that "
                f"it is {classes[other[i]]}; keep the one that is right"
            )
    return first, [truth.source for truth in found]


def _lists(places: list[Path]) -> Iterator[GroundTruth]:
    for place in places:
        for name, read in LISTS.items():
            inside = [
                place / name,
                place / "data" / name,
                *sorted(place.glob(f"*devkit*/data/{name}")),
            ]
            for path in inside:
                if path.is_file():
                    yield _read(path, path.read_text(encoding="utf-8-sig", errors="replace"), read)
        for name in DEVKITS:
            if (path := place / name).is_file():
                yield _read(path, _of_devkit(path), devkit_ids)


def _of_devkit(path: Path) -> str:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            if packed:
                data = gzip.GzipFile(fileobj=file).read(MAX_DEVKIT + 1)
            else:
                data = file.read(MAX_DEVKIT + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    if len(data) > MAX_DEVKIT:
        raise ValueError(f"{path} unpacks to more than {MAX_DEVKIT:,} bytes; refused")

    def read(count: int, offset: int) -> bytes:
        return data[offset : offset + count]

    for member in tar.members(read, 0, len(data), str(path)):
        if member.name.rpartition("/")[2] == OFFICIAL:
            return read(member.size, member.offset).decode("utf-8", "replace")
    raise ValueError(f"{path} holds no {OFFICIAL}")


def _read(path: Path, text: str, read: Callable[[str], Iterator[tuple[Key, Key]]]) -> GroundTruth:
    given: dict[Key, Key] = {}
    try:
        for key, value in read(text):
            if key in given and given[key] != value:
                raise ValueError(f"two classes for image {key}: {given[key]} and {value}")
            given[key] = value
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not given:
        raise ValueError(f"{path} is empty")
    return GroundTruth(path, given)


def _more(found: list[Key] | list[str]) -> str:
    return f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
