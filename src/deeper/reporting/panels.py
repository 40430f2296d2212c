"""The panels of a dashboard at W&B: sections of kinds of panels, a panel for each key that runs log."""

from collections.abc import Mapping, Sequence
from typing import Literal

STEP = "trainer/global_step"
ARM, IDENTITY = "run.value.experiment", "run.value.identity"
"""Keys of a run's W&B config, as W&B stores them: `value` stands below each key of the top level."""

Kind = Literal["bars", "curve", "curves", "images"]
"""Bars show keys of the run's summary; curves take a regular expression, a line for each key."""

SECTIONS: Mapping[str, Mapping[Kind, Sequence[str]]] = {
    "Accuracy, mean ± std over seeds": {
        "bars": ["test/top1", "best/val/top1"],
        "curve": ["val/top1", "val/top5"],
    },
    "Losses": {
        "curve": [
            "train/loss", "train/loss_main", "train/loss_aux/inception4a",
            "train/loss_aux/inception4d", "val/loss",
        ]
    },
    "Optimisation": {"curve": ["optim/lr"]},
    "Gradient norm of each stage": {"curves": ["grad_norm/.*"]},
    "Throughput": {"curve": ["perf/images_per_s", "perf/data_wait"]},
    "Samples": {
        "images": ["images/train_batch", "images/mistakes", "images/confusion", "images/conv1"]
    },
}  # fmt: skip
