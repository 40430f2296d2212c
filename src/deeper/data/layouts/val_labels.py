"""The lists that label the images of a flat val/: the devkit's, Kaggle's, and Tiny-ImageNet's.

Each list becomes a mapping from image names without suffix to wnids.
"""

import csv
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeper.data import classes as ilsvrc

DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
OFFICIAL = "ILSVRC2012_validation_ground_truth.txt"
KAGGLE, TINY = "LOC_val_solution.csv", "val_annotations.txt"
WNID = re.compile(r"n\d{8}")


class LabelList(NamedTuple):
    path: Path
    wnids: dict[str, str]

    def labels(self, folder: Path, names: list[str], classes: list[str]) -> NDArray[np.int64]:
        """Labels of the images `names` (file names in `folder`), in their order."""
        stems = [name.rpartition(".")[0] for name in names]
        for stem, name in zip(stems, names, strict=True):
            if stem not in self.wnids:
                raise ValueError(f"{folder}: the image {name} has no label in {self.path}")
        if lost := self.wnids.keys() - set(stems):
            raise ValueError(
                f"{self.path} labels {min(lost)}, which is not in {folder} (of {len(lost):,} such "
                f"images); unpack the set again"
            )
        places = {wnid: place for place, wnid in enumerate(classes)}
        for stem in stems:
            if self.wnids[stem] not in places:
                raise ValueError(
                    f"{self.path}: {stem} is {self.wnids[stem]}, which is no class of train/"
                )
        return np.array([places[self.wnids[stem]] for stem in stems], dtype=np.int64)


def read_labels(
    folder: Path, names: list[str], classes: list[str], places: list[Path]
) -> tuple[NDArray[np.int64], list[Path]]:
    """Labels of the images `names` in `folder`, and the lists that have them.

    `places` are the folders where lists may lie. All that are found must agree.
    """
    lists = [*_lists(places)]
    if not lists:
        raise ValueError(
            f"{folder} holds images without class folders, and no list of their classes lies in "
            f"{' or '.join(map(str, places))}; expected {DEVKIT}, {OFFICIAL}, {KAGGLE} or {TINY}"
        )
    first, *others = (found.labels(folder, names, classes) for found in lists)
    for labels, other in zip(others, lists[1:], strict=True):
        if (differ := np.flatnonzero(first != labels)).size:
            i = int(differ[0])
            raise ValueError(
                f"{lists[0].path} says that {names[i]} is {classes[first[i]]}, and {other.path} that it "
                f"is {classes[labels[i]]}; keep the list that is right"
            )
    return first, [found.path for found in lists]


def _lists(places: list[Path]) -> Iterator[LabelList]:
    for place in places:
        unpacked = sorted(place.glob(f"*devkit*/data/{OFFICIAL}"))
        for path in (place / OFFICIAL, place / "data" / OFFICIAL, *unpacked):
            if path.is_file():
                yield LabelList(path, _devkit(path, path.read_text(errors="replace")))
        if (path := place / DEVKIT).is_file():
            yield LabelList(path, _devkit(path, _member(path)))
        for name, read in ((KAGGLE, _kaggle), (TINY, _tiny)):
            if (path := place / name).is_file():
                yield LabelList(path, read(path, path.read_text("utf-8-sig", errors="replace")))


def _member(devkit: Path) -> str:
    """The devkit's list, read from its archive."""
    try:
        with tarfile.open(devkit) as archive:
            for member in archive:
                if Path(member.name).name == OFFICIAL and (file := archive.extractfile(member)):
                    return file.read().decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise ValueError(f"{devkit} is damaged: {error}") from error
    raise ValueError(f"{devkit} holds no {OFFICIAL}")


def _devkit(path: Path, text: str) -> dict[str, str]:
    """A class number of the devkit (1..1000) per line, for the images 1, 2 …"""
    wnids = ilsvrc.by_devkit_id()
    labels = {}
    for number, line in enumerate(text.split(), 1):
        if not line.isdigit() or int(line) not in wnids:
            raise ValueError(
                f"{path}: line {number} is {line!r}; expected an ILSVRC2012_ID, 1..1000"
            )
        labels[f"ILSVRC2012_val_{number:08}"] = wnids[int(line)]
    return labels


def _kaggle(path: Path, text: str) -> dict[str, str]:
    """ImageId,PredictionString, where a wnid and four numbers make a box."""
    rows = csv.DictReader(io.StringIO(text))
    if rows.fieldnames != ["ImageId", "PredictionString"]:
        raise ValueError(f"{path} begins with {rows.fieldnames}; expected ImageId,PredictionString")
    labels = {}
    for row in rows:
        wnids = set(WNID.findall(row["PredictionString"] or ""))
        if len(wnids) != 1:
            raise ValueError(
                f"{path}: line {rows.line_num} has the wnids {sorted(wnids)}; expected one"
            )
        labels[row["ImageId"]] = wnids.pop()
    return labels


def _tiny(path: Path, text: str) -> dict[str, str]:
    """File name, wnid and the four numbers of a box, between tabs."""
    labels = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("\t")
        if len(words) != 6 or not WNID.fullmatch(words[1]):
            raise ValueError(
                f"{path}: line {number} is {line!r}; expected a file name, a wnid and four numbers"
            )
        labels[words[0].rpartition(".")[0]] = words[1]
    return labels
