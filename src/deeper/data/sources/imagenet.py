"""ImageNet, or a set in one of its forms, from wherever it lies.

`data.root` says where, a look says in which form.
"""

import re
from pathlib import Path
from typing import Literal

from deeper.data import classes, layouts
from deeper.data.images.stored import Stored
from deeper.data.source import Splits


class ImageNet:
    """Images under `root` in any of `layouts.LAYOUTS`; `num_classes` is what to expect.

    1000 means those of ILSVRC 2012, no others, and the labels of ten known images are checked.
    `layout` decides where a root holds two forms. What was listed is kept in `cache`; under `root`
    nothing is written.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        num_classes: int | None = 1000,
        layout: Literal["auto"] | layouts.Layout = "auto",
    ) -> None:
        self.root, self.cache = Path(root).expanduser(), Path(cache).expanduser()
        self.num_classes, self.layout = num_classes, layout

    def prepare(self) -> None:
        """List the images once, so that all processes find the list in the cache."""
        self.load()

    def load(self) -> Splits:
        module = layouts.detect(self.root) if self.layout == "auto" else layouts.chosen(self.layout)
        splits: Splits = module.load(self.root, self.cache)
        self._require_classes(splits.classes)
        _require_known_labels(self.root, splits)
        return splits

    def _require_classes(self, found: list[str]) -> None:
        if self.num_classes is None:
            return
        other = f"for another set of classes pass data=folder data.root={self.root}"
        if len(found) != self.num_classes:
            raise ValueError(
                f"{self.root} holds {len(found)} classes, expected {self.num_classes}; {other}"
            )
        if self.num_classes == len(wnids := classes.wnids()) and (wrong := set(found) - set(wnids)):
            raise ValueError(
                f"{self.root}: {sorted(wrong)[0]} is no class of ILSVRC 2012, and "
                f"{sorted(set(wnids) - set(found))[0]} is missing; {other}"
            )


def _require_known_labels(root: Path, splits: Splits) -> None:
    if splits.classes != list(classes.wnids()) or not isinstance(splits.val, Stored):
        return
    for index in range(len(splits.val)):
        name = re.split("[/:]", splits.val.name(index))[-1]
        wnid = splits.classes[splits.val.labels[index]]
        if (right := classes.FIRST_OF_VAL.get(name, wnid)) != wnid:
            raise ValueError(
                f"{root}: {splits.val.name(index)} is labelled {wnid} ({classes.words(wnid)}); in ILSVRC "
                f"2012 it is {right} ({classes.words(right)}), so the labels follow another order"
            )
