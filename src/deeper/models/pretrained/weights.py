"""Weights from outside under this project's names, and loading them into a network: all or nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deeper.models.lrn import LocalResponseNorm

SHOWN = 4
"""How many names of each list an error message shows."""

POOLS_AND_LRN = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, LocalResponseNorm)


@dataclass(frozen=True)
class Weights:
    """Weights, and what is known of the network that they belong to."""

    origin: str
    """A published name or a path, for messages."""
    state: Mapping[str, Tensor]
    """Under our names; a tensor for which we have no name keeps its own, and no network accepts it."""
    layer_settings: dict[str, str]
    """As `layer_settings(net)`, of their network."""
    words: str
    """The words of the command line that choose their network."""
    preprocess: Mapping[str, Any] | None = None
    """Config of the preprocessing that they were trained with; None where it is not known."""
    classes: Sequence[str] = ()
    """Empty where they are not known."""


def layer_settings(net: nn.Module) -> dict[str, str]:
    """Module name → what its weights do not show: strides, padding, pools, constants of norms."""
    settings = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            settings[name] = f"Conv2d(stride={module.stride}, padding={module.padding})"
        elif isinstance(module, nn.BatchNorm2d):
            settings[name] = f"BatchNorm2d(eps={module.eps:g})"
        elif isinstance(module, POOLS_AND_LRN):
            settings[name] = repr(module)
    return settings


def load_weights(net: nn.Module, weights: Weights, *, num_classes: int | None = None) -> list[str]:
    """Copy `weights` into `net` in place; returns a line for each part of them that was left out.

    With `num_classes`, `net.reset_classifier(num_classes)` makes new classifiers first, and the weights
    must fit the rest. Auxiliary heads that `net` has not are left out. Raises `ValueError` that names
    the differences, and then none of the weights is in `net`.
    """
    new = set() if num_classes is None else _reset_classifier(net, num_classes)
    state = net.state_dict()
    absent = _aux_heads(weights.state) - _aux_heads(state)
    left_out = tuple(f"{module}." for module in new | absent)
    theirs, ours = (
        {name: text for name, text in parts.items() if not f"{name}.".startswith(left_out)}
        for parts in (
            _shapes(weights.state) | weights.layer_settings,
            _shapes(state) | layer_settings(net),
        )
    )
    if differences := _differences(theirs, ours):
        listed = "\n".join(f"  {line}" for line in differences)
        raise ValueError(
            f"{weights.origin}: these weights belong to another network, and nothing was loaded\n"
            f"{listed}\nthe network they fit: {weights.words}"
        )
    with torch.no_grad():
        for name in state.keys() & ours.keys():
            state[name].copy_(weights.state[name])
    lines = [f"{name} is left out, which this network has not" for name in sorted(absent)]
    return lines + ([f"new for {num_classes} classes: {', '.join(sorted(new))}"] if new else [])


def _reset_classifier(net: nn.Module, num_classes: int) -> set[str]:
    """Names of the children that `reset_classifier` replaced or changed."""
    reset: Callable[[int], object] | None = getattr(net, "reset_classifier", None)
    if reset is None:
        raise ValueError(
            f"{type(net).__name__} has no reset_classifier(num_classes), which other classes need"
        )
    before = dict(net.named_parameters())
    reset(num_classes)
    new = [name for name, value in net.named_parameters() if before.get(name) is not value]
    return {name.partition(".")[0] for name in new}


def _aux_heads(names: Iterable[str]) -> set[str]:
    return {".".join(name.split(".")[:2]) for name in names if name.startswith("aux.")}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, str]:
    return {name: "×".join(map(str, value.shape)) or "one number" for name, value in state.items()}


def _differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """Lines about tensors and layers: those of one network alone, and those that differ."""
    lists = {
        "missing in them": [name for name in ours if name not in theirs],
        "unknown here": [name for name in theirs if name not in ours],
        "different": [
            f"{name} {theirs[name]}, here {text}"
            for name, text in ours.items()
            if theirs.get(name, text) != text
        ],
    }
    return [
        f"{what} ({len(names)}): {', '.join(names[:SHOWN])}{' …' if names[SHOWN:] else ''}"
        for what, names in lists.items()
        if names
    ]
