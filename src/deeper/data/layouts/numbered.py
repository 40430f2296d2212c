"""ImageNet-V2 (Recht et al., 2019) as it is distributed: a test set alone, in folders 0 … 999.

The numbers count the sorted wnids; sorted as text they would be 0, 1, 10, 100 …
"""

from pathlib import Path

from deeper.data import classes
from deeper.data.layouts import listing
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

NAMES = [str(number) for number in range(1000)]


def fits(root: Path) -> bool:
    return set(listing.folders(root)) == set(NAMES)


def load_splits(root: Path, cache: Path) -> Splits:
    """`train` is empty; `val` and `test` are the set."""
    return listing.cached_splits("numbered", root, cache, _listed)


def _listed(root: Path) -> Index:
    images = listing.by_class(root, "", NAMES)
    splits = {"train": {key: column[:0] for key, column in images.items()}, "test": images}
    return Index([*classes.wnids()], splits, listing.watched(root, "", NAMES))
