"""Kaggle's "ImageNet Object Localization Challenge": ILSVRC 2012 below `ILSVRC/Data/CLS-LOC`."""

from pathlib import Path

from deeper.data.layouts import flat_val, tree
from deeper.data.source import Splits


def fits(root: Path) -> bool:
    return _images(root) is not None


def load_splits(root: Path, cache: Path) -> Splits:
    """`root` is the unpacked folder, or the `ILSVRC` in it."""
    images = _images(root)
    assert images is not None, root  # noqa: S101
    if flat_val.fits(images):
        return flat_val.load_splits(images, cache)
    return tree.load_splits(images, cache)  # val/ was sorted into folders


def _images(root: Path) -> Path | None:
    folders = (root / inside for inside in ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC"))
    return next((folder for folder in folders if (folder / "train").is_dir()), None)
