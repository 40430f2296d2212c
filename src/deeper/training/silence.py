"""Silences known-harmless Lightning warnings."""

import logging
import warnings

HARMLESS = (
    "Total length of `list` across ranks is zero.*",  # an evaluation whose results are all cached
    ".*nn.functional.all_gather is deprecated.*",
    ".*LeafSpec.*",  # Lightning on torch 2.14
    ".*`srun` command is available.*",  # it need not be used
    ".*sync_dist=True.*",  # the logged values are already reduced
    ".*your dataloader is not resumable.*",  # the sample order is a function of the step
    ".*does not have many workers.*",  # data.workers=auto chose the number
)


def silence_lightning() -> None:
    """Hide Lightning's tips and the warnings in `HARMLESS`."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message=message)
