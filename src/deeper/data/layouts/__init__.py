"""The layouts in which people store ImageNet, one module each: `fits(root)` and `load_splits(root, cache)`.

Labels are indices into the sorted class names, whatever numbers a layout has.
"""

import importlib
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

Layout = Literal["packed", "parquet", "archives", "kaggle", "tiny", "flat_val", "numbered", "tree"]

LAYOUTS: dict[Layout, str] = {
    "packed": "packed.json and <split>-00000.arrow, made by src/prepare.py",
    "parquet": "data/train-00000-of-00294.parquet … and data/validation-*.parquet, of the Hugging Face Hub",
    "archives": "ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz",
    "kaggle": "ILSVRC/Data/CLS-LOC/train/<wnid>/*.JPEG, …/val/*.JPEG and LOC_val_solution.csv",
    "tiny": "wnids.txt, train/<wnid>/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt",
    "flat_val": "train/<wnid>/*.JPEG, val/*.JPEG and ILSVRC2012_devkit_t12.tar.gz or LOC_val_solution.csv",
    "numbered": "0/* … 999/*, a test set alone, as ImageNet-V2",
    "tree": "train/<class>/*.JPEG, and val/<class>/*.JPEG, test/<class>/*.JPEG or both, if there are any",
}
"""What `data.root` holds in each layout."""

MAX_SUGGESTIONS = 20
"""Folders in `data.root` that are tried for a suggestion."""


def module(layout: Layout) -> ModuleType:
    return importlib.import_module(f"{__name__}.{layout}")


def chosen(layout: Layout) -> ModuleType:
    """The module of a layout that the config names."""
    if layout not in get_args(Layout):
        raise ValueError(f"data.source.layout={layout}: choose auto, {', '.join(LAYOUTS)}")
    return module(layout)


def detect(root: Path) -> ModuleType:
    """The module of the layout of `root`. Raises `ValueError` if none fits, or several do."""
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise ValueError(
            f"data.root={root}: {what}; pass data.root=<a folder with train/<class>/* and "
            f"val/<class>/*>, or with ImageNet in another layout: {', '.join(LAYOUTS)}"
        )
    fitting = _fitting(root)
    if len(fitting) > 1:
        choices = " or ".join(f"data.source.layout={name}" for name in fitting)
        raise ValueError(
            f"data.root={root} fits {len(fitting)} layouts, {' and '.join(fitting)}; choose one: {choices}"
        )
    if not fitting:
        expected = "\n".join(f"  {name:10}{what}" for name, what in LAYOUTS.items())
        raise ValueError(
            f"data.root={root}: found {_first_names(root)}; {_suggestion(root)}expected one of\n{expected}"
        )
    return module(fitting[0])


def _fitting(root: Path) -> list[Layout]:
    return [name for name in LAYOUTS if module(name).fits(root)]


def _suggestion(root: Path) -> str:
    """A folder just below or above `root` that fits a layout."""
    root = root.absolute()
    below = sorted(path for path in root.iterdir() if path.is_dir())[:MAX_SUGGESTIONS]
    for folder in (*below, *root.parents[:2]):
        with suppress(OSError):
            if _fitting(folder):
                return f"did you mean data.root={folder}? Else "
    return ""


def _first_names(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
    return (", ".join(names[:8]) or "nothing") + more
