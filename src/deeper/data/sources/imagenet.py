"""ImageNet (ILSVRC 2012) in any layout."""

import re
from pathlib import Path
from typing import Literal

from deeper.data import classes, layouts
from deeper.data.source import Splits
from deeper.data.sources.folder import Folder


class ImageNet(Folder):
    """The 1000 classes of ILSVRC 2012 and no others; the labels of ten known images are checked."""

    def __init__(
        self,
        root: str | Path,
        cache: str | Path,
        layout: Literal["auto"] | layouts.Layout = "auto",
    ) -> None:
        super().__init__(root, cache, num_classes=1000, layout=layout)

    def load(self) -> Splits:
        splits = super().load()
        wnids = classes.wnids()
        if wrong := set(splits.classes) - set(wnids):
            raise ValueError(
                f"{self.root}: {min(wrong)} is no class of ILSVRC 2012, and "
                f"{min(set(wnids) - set(splits.classes))} is missing; for another set of classes pass "
                f"data=folder data.root={self.root}"
            )
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
