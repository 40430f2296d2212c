"""Tiny-ImageNet as Stanford's CS231n distributes it: 200 classes of 64 px."""

from pathlib import Path

from deeper.data.layouts import flat_val, index, listing
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

WNIDS, INSIDE = "wnids.txt", "images"


def fits(root: Path) -> bool:
    return (root / WNIDS).is_file() and (root / "val" / INSIDE).is_dir()


def load_splits(root: Path, cache: Path) -> Splits:
    return listing.as_files(root, index.cached("tiny", root, cache, lambda: _listed(root)))


def _listed(root: Path) -> Index:
    classes = listing.classes(root / "train")
    if others := set(classes) ^ set((root / WNIDS).read_text().split()):
        raise ValueError(
            f"{root}: {WNIDS} and the folders of train/ differ in {', '.join(sorted(others)[:5])}"
        )
    train = listing.by_class(root, "train", classes, INSIDE)
    val, lists = flat_val.labelled(root, f"val/{INSIDE}", classes, [root / "val"])
    watched = [*listing.watched(root, "train", classes, INSIDE), root / "val" / INSIDE]
    return Index(classes, {"train": train, "val": val}, [*watched, root / WNIDS, *lists])
