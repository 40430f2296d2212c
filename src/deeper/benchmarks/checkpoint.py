"""Saving and loading a training's state, weights and momentum: ours, atomic, synced and sealed, and torch's."""

from collections.abc import Iterator

import torch

from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Contest
from deeper.checkpoint import load_checkpoint, save_checkpoint


def contests(setting: Setting) -> Iterator[Contest]:
    module = setting.classifier()
    optimizer = module.configure_optimizers()["optimizer"]
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # makes the momentum
    state = {
        "state_dict": module.state_dict(), "optimizer_states": [optimizer.state_dict()],
        "deeper": module.checkpoint_metadata, "global_step": 1,
    }  # fmt: skip
    ours, theirs = setting.scratch / "ours.ckpt", setting.scratch / "torch.ckpt"
    yield Contest(
        "checkpoint, save",
        {"torch.save": lambda: torch.save(state, theirs), "ours": lambda: save_checkpoint(state, ours)},
        "ms", baselines=("torch.save",),
        about={"megabytes": 2 * sum(p.nbytes for p in module.parameters()) / 1e6},
    )  # fmt: skip
    loads = {
        "torch.load": lambda: torch.load(theirs, map_location="cpu", weights_only=True),
        "ours": lambda: load_checkpoint(ours),
    }
    yield Contest("checkpoint, load", loads, "ms", baselines=("torch.load",))
