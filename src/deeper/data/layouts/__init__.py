"""The layouts in which people store ImageNet, one module each: `fits(root)` and `load_splits(root, cache)`.

Labels are indices into the sorted class names, whatever numbers a layout has.
"""

import importlib
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Literal

Layout = Literal["packed", "parquet", "archives", "numbered", "folders"]

LAYOUTS: dict[Layout, str] = {
    "packed": "packed.json and <split>-00000.arrow, made by src/prepare.py",
    "parquet": "data/train-00000-of-00294.parquet … and data/validation-*.parquet, of the Hugging Face Hub",
    "archives": "ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz",
    "numbered": "0/* … 999/*, a test set alone, as ImageNet-V2",
    "folders": "train/<class>/*.JPEG, with val/ and test/ alike, or with a flat val/ and its list of labels "
    "(ILSVRC2012_devkit_t12.tar.gz or LOC_val_solution.csv); as Kaggle's ILSVRC/, or as Tiny-ImageNet",
}
"""What `data.root` holds in each layout."""


def find_layout(root: Path, layout: Literal["auto"] | Layout = "auto") -> ModuleType:
    """The module of a layout, by default of the one that `root` has.

    Raises `ValueError` if none fits, or several do.
    """
    if layout in LAYOUTS:
        return _module(layout)
    if layout != "auto":
        raise ValueError(f"data.source.layout={layout}: choose auto, {', '.join(LAYOUTS)}")
    require_folder(root)
    fitting = _fitting(root)
    if len(fitting) > 1:
        choices = " or ".join(f"data.source.layout={name}" for name in fitting)
        raise ValueError(
            f"data.root={root} fits {len(fitting)} layouts, {' and '.join(fitting)}; choose one: {choices}"
        )
    if not fitting:
        names = sorted(entry.name for entry in root.iterdir())
        found = ", ".join([*names[:8], *(["…"] if len(names) > 8 else [])]) or "nothing"
        expected = "\n".join(f"  {name:10}{what}" for name, what in LAYOUTS.items())
        raise ValueError(
            f"data.root={root}: found {found}; {_suggestion(root)}expected one of\n{expected}"
        )
    return _module(fitting[0])


def require_folder(root: Path) -> None:
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise ValueError(
            f"data.root={root}: {what}; pass data.root=<a folder with train/<class>/* and "
            f"val/<class>/*>, or with ImageNet as its archives, Kaggle or the Hub give it"
        )


def _module(layout: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{layout}")


def _fitting(root: Path) -> list[str]:
    return [layout for layout in LAYOUTS if _module(layout).fits(root)]


def _suggestion(root: Path) -> str:
    """A folder just above or below `root` that fits a layout."""
    root = root.absolute()
    for folder in (*root.parents[:2], *sorted(root.iterdir())[:20]):
        with suppress(OSError):
            if folder.is_dir() and _fitting(folder):
                return f"did you mean data.root={folder}? Else "
    return ""
