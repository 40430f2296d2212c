"""The images on which a run trains, validates and tests, and the fingerprints that identify them."""

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deeper.data.hashes import image_hashes, split_fingerprint
from deeper.data.source import Splits
from deeper.data.splits import Subset, limited, split_holdout

ValFrom = Literal["holdout", "official"]


class Partition:
    """The splits of a run, made of the `official` ones of a source.

    With `val_from=holdout` the validation set is a fraction `holdout` of train, by class, so that the
    official set, which the test reports, chooses nothing. `limit` keeps that many images of each
    split, spread over the classes.
    """

    def __init__(
        self, official: Splits, val_from: ValFrom, holdout: float, limit: int | None
    ) -> None:
        self.official = official
        self._hashes: dict[str, NDArray[np.uint64]] = {}
        classes, train, val, test = official
        if val_from == "holdout" and len(train):  # a test set alone has no train
            hashes = image_hashes(train, classes)
            fit, held = split_holdout(hashes, train.labels, holdout, classes)
            train, val = Subset(train, fit), Subset(train, held)
            if limit is None:
                self._hashes = {"train": hashes[fit], "val": hashes[held]}
        self.splits = Splits(classes, train, val, test)
        if limit is not None:
            self.splits = Splits(classes, *(limited(part, limit) for part in (train, val, test)))

    def fingerprint(self, split: Literal["train", "val", "test"] | None = None) -> str:
        """Identifies the images of one split, or those of all splits and their order.

        It covers the class names and, of each image, the label and the class and stem of its file's
        name (the content, where there are no names), besides the size in bytes of 16,384 images. So it
        is the same wherever the root lies, and in another layout that holds the same files, except
        that parquet files do not tell sizes; one split's does not depend on the order. That of "test"
        is of the whole set, whatever `limit`, so that an evaluation knows the set again. An image that
        was replaced by another under its name may stay unseen; `prepare.py` and the manifest see it.
        """
        digest = hashlib.sha256("\n".join(self.splits.classes).encode())
        for name in ("train", "val", "test") if split is None else (split,):
            images = getattr(self.splits, name)
            if split == "test":
                images, name = self.official.test, "official test"
            if name not in self._hashes:
                self._hashes[name] = image_hashes(images, self.splits.classes)
            digest.update(split_fingerprint(images, self._hashes[name], ordered=split is None))
        return digest.hexdigest()[:16]

    def require_trainable(self) -> None:
        """Refuse splits without images."""
        if not len(self.splits.train):
            raise ValueError(
                "data.root has no training images, only a test set; train on another, and judge the "
                "run by `python src/eval.py run=RUN data.root=<this one>`"
            )
        if not len(self.splits.val):
            raise ValueError(
                "data.val_from=official: data.root has no validation images; pass data.val_from=holdout"
            )

    def require_test(self, val_from: str) -> None:
        """Refuse to test without images, or on the set that chose the checkpoint, a biased number.

        `val_from` is that of the training, on the same images.
        """
        if not len(self.splits.test):
            raise ValueError(
                "data.root has no test images, neither in val/ nor in test/; go without a test (train "
                "with test=false, evaluate with split=val)"
            )
        if val_from == "official" and self.official.val is self.official.test:
            raise ValueError(
                "data.val_from=official: there is one official set, so it chooses the checkpoint "
                "and can't be the test too; pass data.val_from=holdout, or go without a test "
                "(train with test=false, evaluate with split=val)"
            )
