"""ImageNet (ILSVRC 2012) in any layout."""

import re
from pathlib import Path
from typing import Literal

from deeper.data import classes, layouts
from deeper.data.source import Splits
from deeper.data.sources.folder import Folder


class ImageNet(Folder):
    """Classes of ILSVRC 2012: all 1000, or a subset of `num_classes`.

    With all of them the labels of ten known validation images are checked.
    """

    def __init__(
        self,
        root: str | Path,
        cache: str | Path,
        num_classes: int = 1000,
        layout: Literal["auto"] | layouts.Layout = "auto",
    ) -> None:
        super().__init__(root, cache, num_classes, layout)

    def load(self) -> Splits:
        splits = super().load()
        if unknown := set(splits.classes) - set(classes.wnids()):
            raise ValueError(
                f"{self.root}: {min(unknown)} is no class of ILSVRC 2012; for another set of classes "
                f"pass data=folder data.root={self.root}"
            )
        if len(splits.classes) == len(classes.wnids()):  # a subset may number its images anew
            self._require_known_labels(splits)
        return splits

    def _require_known_labels(self, splits: Splits) -> None:
        for index in range(len(splits.val)):
            name = splits.val.name(index)  # type: ignore[attr-defined]  # every layout has names
            wnid = splits.classes[splits.val.labels[index]]
            right = classes.FIRST_OF_VAL.get(re.split("[/:]", name)[-1], wnid)
            if right != wnid:
                raise ValueError(
                    f"{self.root}: {name} is labelled {wnid} ({classes.words(wnid)}); in ILSVRC 2012 "
                    f"it is {right} ({classes.words(right)}), so the labels follow another order"
                )
