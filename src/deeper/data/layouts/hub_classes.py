"""Class names of the Hugging Face Hub's files.

The Hub's imagenet-1k numbers by sorted wnid and names its classes by their words ("tench, Tinca
tinca"). Other sets are numbered by the names in their schema, in any order.
"""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from deeper.data import classes as ilsvrc

WNID = re.compile(r"(?<![A-Za-z0-9])n\d{8}(?!\d)")
SAME_WORDS = 0.9
"""Fraction of classes whose first word must agree: "crane" and a few others are written differently."""


def names_by_number(file: Path, count: int) -> list[str]:
    """The class of each number 0..count-1, as a wnid where the set is imagenet-1k."""
    names = _in_schema(file)
    wnids = [*ilsvrc.wnids()]
    if names is None:
        if count != len(wnids):
            raise ValueError(
                f"{file}: {count} classes without names in the schema; only the 1000 of ImageNet go "
                f"without"
            )
        return wnids
    if count > len(names):
        raise ValueError(f"{file}: label {count - 1}, but {len(names)} class names in the schema")
    if _words_of_imagenet(names):  # among them "crane" twice
        return wnids
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{file}: two labels are named {twice!r}")
    return names


def require_agreement(
    where: str, images: list[str | None], labels: NDArray[np.int64], names: list[str]
) -> None:
    """Refuse rows whose file name has another wnid than the class of their label."""
    if not all(map(WNID.fullmatch, names)):
        return
    for image, label in zip(images, labels.tolist(), strict=True):
        wnids = set(WNID.findall(image or ""))
        if len(wnids) == 1 and names[label] not in wnids:
            raise ValueError(
                f"{where}: {image} has the label {label}, which is {names[label]} "
                f"({ilsvrc.words(names[label])}) by the class names; one of them is wrong"
            )


def original_name(name: str, of: str) -> str:
    """ILSVRC's name of a file: the Hub's imagenet-1k has the wnid at the end, too."""
    return name.replace(f"_{of}.", ".") if WNID.fullmatch(of) else name


def _in_schema(file: Path) -> list[str] | None:
    """As the library `datasets` stores them in the metadata."""
    try:
        about = json.loads((pq.read_schema(file).metadata or {})[b"huggingface"])
        names = about["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] or None


def _words_of_imagenet(names: list[str]) -> bool:
    words = [synset.words for synset in ilsvrc.synsets()]
    theirs, ours = ([w.partition(",")[0].strip().lower() for w in of] for of in (names, words))
    same = sum(map(str.__eq__, theirs, ours))
    return len(theirs) == len(ours) and same >= SAME_WORDS * len(ours)
