"""Imported, it keeps from the screen what Lightning says that is no news of a run."""

import logging
import warnings

for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.WARNING)  # its tips
# An evaluation of which all is kept already.
warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero.*")
warnings.filterwarnings("ignore", message=".*nn.functional.all_gather is deprecated.*")
warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning on torch 2.14
warnings.filterwarnings("ignore", message=".*`srun` command is available.*")  # and need not be used
warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # what is logged is global already
# The order of ours follows from the step, and data.workers=auto chose their number.
warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
