"""Images in folders of classes: `train/<class>/*` with `val/<class>/*`, `test/<class>/*` or both."""

from pathlib import Path

from deeper.data.layouts import tree
from deeper.data.source import Splits


class Folder:
    """Images under `root`, classes by the names of their folders; `num_classes` is what to expect."""

    def __init__(self, root: str, cache: str | None = None, num_classes: int | None = None) -> None:
        self.root, self.num_classes = Path(root).expanduser(), num_classes

    def prepare(self) -> None:
        """Nothing: the images are there, or `load` says what is missing."""

    def load(self) -> Splits:
        tree.require(self.root)
        splits = tree.load(self.root, cache=None)
        if self.num_classes is not None and len(splits.classes) != self.num_classes:
            raise ValueError(
                f"{self.root / 'train'} holds {len(splits.classes)} class folders, expected "
                f"{self.num_classes}; for another set of classes pass data=folder data.root={self.root}"
            )
        return splits
