"""The forms in which people hold ImageNet, one module each: `fits(root)` looks, `load(root, cache)` lists.

Labels are places among the sorted class names, whatever a form numbers by.
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
    "tree": "train/<class>/*.JPEG and val/<class>/*.JPEG (or test/<class>/*.JPEG, or both)",
}
"""In the order in which they are tried, with what `data.root` holds in each."""


NEAR = 20
"""Folders in a root without images that are looked at for some."""


def module(layout: Layout) -> ModuleType:
    return importlib.import_module(f"{__name__}.{layout}")


def detect(root: Path) -> ModuleType:
    """The module of the layout that `root` is in.

    Raises `ValueError` for none, and for two, that says what was found and what was expected.
    """
    if not root.is_dir():
        raise ValueError(
            f"data.root={root}: no such folder; pass data.root=<a folder with train/<class>/* and "
            f"val/<class>/*>, or with ImageNet in another form: {', '.join(LAYOUTS)}"
        )
    fitting = _fitting(root)
    if len(fitting) > 1:
        choices = " or ".join(f"data.source.layout={name}" for name in fitting)
        raise ValueError(
            f"data.root={root} holds ImageNet in {len(fitting)} forms, {' and '.join(fitting)}; say "
            f"which one counts: {choices}"
        )
    if not fitting:
        raise ValueError(
            f"data.root={root}: found {found(root)}; {_likely(root)}expected one of\n{expected()}"
        )
    return module(fitting[0])


def _fitting(root: Path) -> list[Layout]:
    return [name for name in LAYOUTS if module(name).fits(root)]


def _likely(root: Path) -> str:
    """What the mistake most likely is: a folder too high or too low, or a split that lacks."""
    here = root.absolute()
    below = sorted(path for path in here.iterdir() if path.is_dir())[:NEAR]
    for folder in (*below, *here.parents[:2]):
        with suppress(OSError):
            if _fitting(folder):
                return f"did you mean data.root={folder}? Else "
    if (root / "train").is_dir():
        return "train/ is there, but neither val/ nor test/ beside it; "
    return ""


def chosen(layout: Layout) -> ModuleType:
    """A layout by name."""
    if layout not in get_args(Layout):
        raise ValueError(f"data.source.layout={layout}: choose auto, {', '.join(LAYOUTS)}")
    return module(layout)


def found(folder: Path) -> str:
    """The first names in a folder, and how many more there are."""
    names = sorted(entry.name for entry in folder.iterdir())
    more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
    return (", ".join(names[:8]) or "nothing") + more


def expected() -> str:
    """A line for each layout."""
    return "\n".join(f"  {name:10}{what}" for name, what in LAYOUTS.items())
