"""The test images that runs were most certain of and wrong about."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeper.data.source import LabelledImages
from deeper.reporting.runs import StoredRun


@dataclass(frozen=True)
class Mistake:
    index: int
    """Of the image, among the test images."""
    label: str
    predicted: str
    """By most runs."""
    loss: float
    """−ln of the label's probability, mean over the runs."""


def worst(runs: Sequence[StoredRun], number: int) -> list[Mistake]:
    """The largest mean losses among images that most runs got wrong."""
    found = [run.outcomes for run in runs if run.outcomes]
    if not found or not number:
        return []
    losses = np.mean([outcomes["nll"].astype(np.float64) for outcomes in found], axis=0)
    wrong = np.mean([outcomes["rank"] > 0 for outcomes in found], axis=0) > 0.5
    order = np.argsort(np.where(wrong, -losses, np.inf))[: min(number, int(wrong.sum()))]
    names = found[0]["classes"]
    return [
        Mistake(
            int(i), names[found[0]["label"][i]],
            names[np.bincount([outcomes["predicted"][i] for outcomes in found]).argmax()], losses[i],
        )
        for i in order
    ]  # fmt: skip


def images_of(run: StoredRun, data_root: str, cache: str) -> LabelledImages:
    """The test images of a run, whose data set lies in `data_root`.

    Raises `ValueError` for a folder with other images.
    """
    from deeper.config import signatures
    from deeper.sweep.images import partition

    data = run.config["data"] | {"root": data_root, "cache": cache}
    signatures.require_buildable({"data": {"source": data["source"]}})
    # Test images are the same with any val_from; this one hashes no training images.
    images = partition(data | {"val_from": "official"}).splits.test
    if run.outcomes and not np.array_equal(images.labels, run.outcomes["label"]):
        raise ValueError(f"data.root={data_root}: not the test images of {run.directory}")
    return images
