"""What the operators of a training step do: their convolutions, their bytes, their share of its time."""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deeper.benchmarks.timing import Counts

GROUPS = {
    "optimizer": ("optimizer.step",),
    "convolution": ("conv",),
    "pooling": ("pool",),
    "batch norm, with its ReLU": ("norm", "lrn"),
    "ReLU": ("relu", "threshold", "clamp_min"),
    "concatenation": ("aten::cat", "catbackward"),
    "linear layers": ("linear", "mm"),
    "copies and casts": ("copy", "clone", "fill_", "zero_"),
}
"""Group → parts of names. An operator is in the group of the outermost operator around it that fits."""


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the convolutions of what runs under it, with their inputs, and counts bytes and operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.convolutions: list[tuple[tuple[Any, ...], Tensor]] = []
        """Arguments as `aten.convolution` got them, after autocast, and a gradient of the result."""
        self.bytes = 0
        """Of all tensors that operators read and write, as if no cache held any."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            detached = tuple(a.detach() if isinstance(a, Tensor) else a for a in args)
            self.convolutions.append((detached, torch.randn_like(result)))
        view = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
        if not view:
            tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)]
            self.bytes += sum(t.nbytes for t in tensors)
        return result

    @property
    def operations(self) -> int:
        """Of the convolutions' forward and backward passes; images themselves need no gradient."""
        return sum(
            2 * grad.numel() * args[1][0].numel() * (2 + _needs_input_gradient(args))
            for args, grad in self.convolutions
        )

    def run_convolutions(self) -> None:
        """All convolutions, forward and backward, without autograd and without casts of weights."""
        for args, grad in self.convolutions:
            images, weight, _, *geometry = args
            torch.ops.aten.convolution(images, weight, None, *geometry)
            mask = [_needs_input_gradient(args), True, False]
            torch.ops.aten.convolution_backward(grad, images, weight, None, *geometry, mask)


def _needs_input_gradient(args: tuple[Any, ...]) -> bool:
    return bool(args[0].shape[1] != 3)


def record(step: Callable[[], Any]) -> Recorder:
    recorder = Recorder()
    with recorder:
        step()
    return recorder


def shares(title: str, step: Callable[[], Any], repeats: int = 3) -> Counts:
    """Where the time of a step goes, by operators' own time (that of their kernels on a GPU)."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it writes of each start and stop
    on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as found:
        for _ in range(repeats):
            step()
    own = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    times = dict.fromkeys((*GROUPS, "rest"), 0.0)
    for event in found.events() or ():
        if event.device_type == DeviceType.CPU:
            times[_group(event)] += getattr(event, own)
    total = sum(times.values())
    rows = [
        {"operators": group, "share %": 100 * time / total, "ms a step": time / repeats / 1000}
        for group, time in times.items()
    ]
    return Counts(title, rows)


def _group(event: Any) -> str:
    group = _group(event.cpu_parent) if event.cpu_parent else "rest"
    if group != "rest":
        return group
    name = event.name.lower()
    return next((g for g, parts in GROUPS.items() if any(p in name for p in parts)), "rest")
