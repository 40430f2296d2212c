"""ImageNet-V2 (Recht et al., 2019) as it is distributed: a test set alone, in folders 0 … 999.

They number the sorted wnids; sorted as text they would be 0, 1, 10, 100 …
"""

from pathlib import Path

from deeper.data import classes
from deeper.data.images.stored import Files
from deeper.data.layouts import index, listing
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

NAMES = [str(number) for number in range(1000)]


def fits(root: Path) -> bool:
    return set(listing.folders(root)) == set(NAMES)


def load(root: Path, cache: Path | None) -> Splits:
    """`train` is empty; `val` and `test` are the set."""
    listed = index.kept("numbered", root, cache, lambda: _listed(root))
    found = listed.splits["test"]
    images = Files(root, found["names"], found["labels"])
    return Splits(listed.classes, Files(root, [], []), images, images)


def _listed(root: Path) -> Index:
    images = listing.by_class(root, "", NAMES)
    return Index([*classes.wnids()], {"test": images}, listing.watched(root, "", NAMES))
