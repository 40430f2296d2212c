"""What people write the classes of validation images into, a reader each.

A reader answers (image, class) pairs: the image's number or its name without suffix; its wnid, or a
place among the sorted ones. Raises `ValueError` that names the line.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator

from deeper.data import classes as ilsvrc

OFFICIAL = "ILSVRC2012_validation_ground_truth.txt"
WNID = re.compile(r"n\d{8}")
Key = int | str


def devkit_ids(text: str) -> Iterator[tuple[Key, Key]]:
    """A number of the devkit's (1..1000) a line, for the images 1, 2 …"""
    wnids = ilsvrc.by_devkit_id()
    for number, line in enumerate(text.split(), 1):
        if not line.isdigit() or int(line) not in wnids:
            raise ValueError(f"line {number} is {line!r}; expected an ILSVRC2012_ID, 1..1000")
        yield number, wnids[int(line)]


def _synsets(text: str) -> Iterator[tuple[Key, Key]]:
    """A wnid a line, for the images 1, 2 …"""
    for number, line in enumerate(text.split(), 1):
        if not WNID.fullmatch(line):
            raise ValueError(f"line {number} is {line!r}; expected a wnid like n01440764")
        yield number, line


def _solution(text: str) -> Iterator[tuple[Key, Key]]:
    """Kaggle's: ImageId,PredictionString, where a wnid and four numbers make a box."""
    rows = csv.reader(io.StringIO(text))
    if (head := next(rows, [])) != ["ImageId", "PredictionString"]:
        raise ValueError(f"begins with {','.join(head)}; expected ImageId,PredictionString")
    for number, row in enumerate(rows, 2):
        wnids = {word for word in " ".join(row[1:]).split() if WNID.fullmatch(word)}
        if len(row) != 2 or len(wnids) != 1:
            raise ValueError(f"line {number} is {','.join(row)!r}; expected an image and one wnid")
        yield row[0], wnids.pop()


def _filled(text: str) -> Iterator[tuple[int, str]]:
    """Lines and their numbers, without empty ones."""
    return ((n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip())


def _annotations(text: str) -> Iterator[tuple[Key, Key]]:
    """Tiny-ImageNet's: file name, wnid and a box, between tabs."""
    for number, line in _filled(text):
        words = line.split("\t")
        if len(words) != 6 or not WNID.fullmatch(words[1]):
            raise ValueError(
                f"line {number} is {line!r}; expected a file name, a wnid and four numbers"
            )
        yield words[0].rpartition(".")[0], words[1]


def _pairs(text: str) -> Iterator[tuple[Key, Key]]:
    """A file name and its wnid, or the place of that among the sorted ones, a line."""
    for number, line in _filled(text):
        name, _, label = line.strip().replace("\t", " ").replace(",", " ").rpartition(" ")
        if not name or not (WNID.fullmatch(label) or label.isdigit()):
            raise ValueError(
                f"line {number} is {line!r}; expected a file name and a wnid or number"
            )
        yield (
            re.sub(r"\.\w+$", "", name.strip().rpartition("/")[2]),
            (int(label) if label.isdigit() else label),
        )


LISTS: dict[str, Callable[[str], Iterator[tuple[Key, Key]]]] = {
    OFFICIAL: devkit_ids,
    "LOC_val_solution.csv": _solution,
    "imagenet_2012_validation_synset_labels.txt": _synsets,
    "val_annotations.txt": _annotations,
    "val.txt": _pairs,
    "val_list.txt": _pairs,
}
"""File names and how each is read."""
