"""The 1000 classes of ILSVRC 2012: wnids, the devkit's numbers, and words (WordNet 3.0).

A label is the index of a wnid among the sorted wnids. The devkit numbers the classes in another order
(ILSVRC2012_ID, 1..1000), so each of its numbers is translated to a wnid.
"""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

_FIRST = (
    "n01751748", "n09193705", "n02105855", "n04263257", "n03125729",
    "n01735189", "n02346627", "n02776631", "n03794056", "n02328150",
)  # fmt: skip
FIRST_OF_VAL = {f"ILSVRC2012_val_{number:08}.JPEG": w for number, w in enumerate(_FIRST, start=1)}
"""The classes of ten validation images, which labels in another order contradict."""


class Synset(NamedTuple):
    wnid: str
    devkit_id: int
    words: str


@cache
def synsets() -> tuple[Synset, ...]:
    """Sorted by wnid: the index is the label."""
    text = files(__name__).joinpath("ilsvrc2012.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines())
    return tuple(Synset(wnid, int(number), words) for wnid, number, words in rows)


@cache
def wnids() -> tuple[str, ...]:
    return tuple(synset.wnid for synset in synsets())


@cache
def by_devkit_id() -> dict[int, str]:
    return {synset.devkit_id: synset.wnid for synset in synsets()}


@cache
def _words() -> dict[str, str]:
    return {synset.wnid: synset.words for synset in synsets()}


def words(name: str) -> str:
    """The words of a class, e.g. "tench, Tinca tinca"; `name` itself if it is no wnid of ILSVRC 2012.

    Two classes have the word "crane", a bird and a machine.
    """
    return _words().get(name, name)
