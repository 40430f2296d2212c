"""The lists that label the images of a flat val/: the devkit's, Kaggle's, and Tiny-ImageNet's.

Each list becomes a mapping from image names without suffix to wnids.
"""

import re
import tarfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeper.data import classes as ilsvrc

DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
OFFICIAL = "ILSVRC2012_validation_ground_truth.txt"
KAGGLE, TINY = "LOC_val_solution.csv", "val_annotations.txt"
WNID = re.compile(r"n\d{8}")


def read_labels(
    folder: Path, names: list[str], classes: list[str], places: list[Path]
) -> tuple[NDArray[np.int64], Path]:
    """Labels of the images `names` in `folder`, and the list that has them.

    `places` are the folders where lists may lie; the first one found is taken.
    """
    path, wnids = _first_list(folder, places)
    labels = {wnid: label for label, wnid in enumerate(classes)}
    stems = [name.rpartition(".")[0] for name in names]
    for stem, name in zip(stems, names, strict=True):
        if stem not in wnids:
            raise ValueError(f"{folder}: the image {name} has no label in {path}")
        if wnids[stem] not in labels:
            raise ValueError(f"{path}: {stem} is {wnids[stem]}, which is no class of train/")
    if lost := wnids.keys() - set(stems):
        raise ValueError(
            f"{path} labels {min(lost)}, which is not in {folder} (of {len(lost):,} such images); "
            f"unpack the set again"
        )
    return np.array([labels[wnids[stem]] for stem in stems], dtype=np.int64), path


def _first_list(folder: Path, places: list[Path]) -> tuple[Path, dict[str, str]]:
    for place in places:
        unpacked = sorted(place.glob(f"*devkit*/data/{OFFICIAL}"))
        for path in (place / OFFICIAL, place / "data" / OFFICIAL, *unpacked):
            if path.is_file():
                return path, _devkit(path, path.read_text(errors="replace"))
        if (path := place / DEVKIT).is_file():
            return path, _devkit(path, _member(path))
        for name, separator, headings in ((KAGGLE, ",", 1), (TINY, "\t", 0)):
            if (path := place / name).is_file():
                lines = path.read_text("utf-8-sig", errors="replace").splitlines()
                return path, _boxes(path, lines[headings:], separator)
    raise ValueError(
        f"{folder} holds images without class folders, and no list of their classes lies in "
        f"{' or '.join(map(str, places))}; expected {DEVKIT}, {OFFICIAL}, {KAGGLE} or {TINY}"
    )


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


def _boxes(path: Path, lines: list[str], separator: str) -> dict[str, str]:
    """An image's name and its boxes per line, a wnid and four numbers each; all of an image have one wnid."""
    labels = {}
    for line in filter(None, lines):
        name, _, boxes = line.partition(separator)
        wnids = set(WNID.findall(boxes))
        if len(wnids) != 1:
            raise ValueError(f"{path}: {name} has the wnids {sorted(wnids)}; expected one")
        labels[name.partition(".")[0]] = wnids.pop()
    return labels
