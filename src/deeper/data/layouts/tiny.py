"""Tiny-ImageNet as Stanford's CS231n gives it: 200 classes of 64 px."""

from pathlib import Path

from deeper.data.images.stored import Files
from deeper.data.layouts import flat_val, index, listing
from deeper.data.layouts.index import Index
from deeper.data.source import Splits

WNIDS, INSIDE = "wnids.txt", "images"


def fits(root: Path) -> bool:
    return (root / WNIDS).is_file() and (root / "val" / INSIDE).is_dir()


def load(root: Path, cache: Path | None) -> Splits:
    listed = index.kept("tiny", root, cache, lambda: _listed(root))
    train, val = (Files(root, c["names"], c["labels"]) for c in listed.splits.values())
    return Splits(listed.classes, train, val, val)


def _listed(root: Path) -> Index:
    names = listing.classes(root / "train")
    if others := set(names) ^ set((root / WNIDS).read_text().split()):
        raise ValueError(
            f"{root}: {WNIDS} and the folders of train/ differ in {', '.join(sorted(others)[:5])}"
        )
    train = listing.by_class(root, "train", names, INSIDE)
    flat, lists = flat_val.flat_images(root, f"val/{INSIDE}", names, [root / "val"])
    watched = [*listing.watched(root, "train", names, INSIDE), root / "val" / INSIDE]
    return Index(names, {"train": train, "val": flat}, [*watched, root / WNIDS, *lists])
