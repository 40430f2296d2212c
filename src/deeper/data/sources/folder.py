"""Images in a folder, in any layout, with the classes that the layout names."""

from pathlib import Path
from typing import Literal

from deeper.data import layouts
from deeper.data.source import Splits


class Folder:
    """The images under `root`, in any of `layouts.LAYOUTS`.

    `layout` decides where `root` fits two layouts. `num_classes` is the number to expect, if given.
    The list of images is stored in `cache`; nothing is written under `root`.
    """

    def __init__(
        self,
        root: str | Path,
        cache: str | Path,
        num_classes: int | None = None,
        layout: Literal["auto"] | layouts.Layout = "auto",
    ) -> None:
        self.root, self.cache = Path(root).expanduser(), Path(cache).expanduser()
        self.num_classes, self.layout = num_classes, layout

    def require_root(self) -> None:
        """Raises `ValueError` where no images can be; nothing is listed yet."""
        layouts.require_folder(self.root)

    def prepare(self) -> None:
        """Lists the images once, so that all processes find the list in the cache."""
        self.load()

    def load(self) -> Splits:
        module = layouts.find_layout(self.root, self.layout)
        splits: Splits = module.load_splits(self.root, self.cache)
        if self.num_classes not in (None, len(splits.classes)):
            raise ValueError(
                f"{self.root} holds {len(splits.classes)} classes, expected {self.num_classes}; for "
                f"another set of classes pass data=folder data.root={self.root}"
            )
        return splits
