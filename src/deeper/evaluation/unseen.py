"""Refuses an evaluation on images that chose a checkpoint or that a network was trained on."""

import os
from pathlib import Path
from typing import Any

from deeper import checkpoint
from deeper.data.datamodule import ImageData


def require_evaluable(cfg: Any, checkpoints: dict[Path, dict[str, Any]], data: ImageData) -> None:
    """`ValueError` for other classes, and for images that are no fair test."""
    if cfg.trainer.get("limit_val_batches") is not None:
        raise ValueError(
            "trainer.limit_val_batches: an evaluation counts every image; data.limit=N takes fewer"
        )
    first = next(iter(checkpoints))
    for path, state in checkpoints.items():
        try:
            checkpoint.require_classes(state, data.classes)
        except ValueError as error:
            raise ValueError(f"{path}: {error}" if len(checkpoints) > 1 else str(error)) from None
        if not same_images(state, data):
            continue
        trained = state["deeper"]["config"]["data"]
        if cfg.split == "test":
            data.require_test(trained["val_from"])
        elif (trained["val_from"], trained["holdout"]) != (data.val_from, data.holdout):
            raise ValueError(
                f"{path}: trained with data.val_from={trained['val_from']} "
                f"data.holdout={trained['holdout']}, {first} with {data.val_from} and {data.holdout}: "
                f"one may have been trained on what the other held out; pass split=test, or "
                f"evaluate them one by one"
            )


def same_images(state: dict[str, Any], data: ImageData) -> bool:
    """Whether `data` is the data set of the training: the same folder, or the same test images."""
    roots = (state["deeper"]["config"]["data"]["root"], data.root)
    theirs, ours = (os.path.realpath(os.path.expanduser(root)) for root in roots)
    return theirs == ours or state["deeper"].get("test_images") == data.fingerprint("test")
