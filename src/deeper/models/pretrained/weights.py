"""Weights from outside under this project's names, and loading them into a network: all or nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deeper.models.preprocess import Preprocess
from deeper.models.pretrained.layer_settings import layer_settings

SHOWN = 4
"""How many names of each list an error message shows."""


@dataclass(frozen=True)
class Weights:
    """What an importer reads from a file."""

    origin: str
    """A published name or a path, for messages."""
    state: Mapping[str, Tensor]
    """Under our names; a tensor for which we have no name keeps its own, and no network accepts it."""
    layer_settings: Mapping[str, str]
    """As `layer_settings(net)`, of the network that the weights belong to."""
    overrides: str
    """The words of the command line that choose that network."""
    preprocess: nn.Module | None = None
    """The preprocessing that they were trained with, or the usual one of files of this kind."""
    preprocess_known: bool = False
    """False where `preprocess` is only the usual one."""
    classes: Sequence[str] | None = None
    """None where the file does not name them."""
    unsupported: Sequence[str] = ()
    """What the weights' own network does and no network of ours can, a line each."""
    note: str = ""
    """A warning to users of the whole network."""

    @property
    def num_classes(self) -> int:
        if "head.classifier.weight" not in self.state:
            raise ValueError(f"{self.origin}: has no main classifier; is it a GoogLeNet?")
        return int(self.state["head.classifier.weight"].shape[0])


def load_weights(net: nn.Module, weights: Weights, *, num_classes: int | None = None) -> list[str]:
    """Copy `weights` into `net` in place; returns a line for each part of them that was left out.

    With `num_classes`, `net.reset_classifier(num_classes)` makes new classifiers first, and the weights
    must fit the rest. Auxiliary heads that `net` has not are left out. Raises `ValueError` that lists
    all differences, and then none of the weights is in `net`.
    """
    new = set() if num_classes is None else _reset_classifier(net, num_classes)
    theirs = {name: value for name, value in weights.state.items() if not _is_below(new, name)}
    absent = _aux_heads(theirs) - _aux_heads(net.state_dict())
    theirs = {name: value for name, value in theirs.items() if not _is_below(absent, name)}
    ours = {name: value for name, value in net.state_dict().items() if not _is_below(new, name)}
    differences = [
        *_tensor_differences(theirs, ours),
        *_setting_differences(net, weights, new | absent),
        *weights.unsupported,
    ]
    if differences:
        listed = "\n".join(f"  {line}" for line in differences)
        raise ValueError(
            f"{weights.origin}: these weights belong to another network, and nothing was loaded\n"
            f"{listed}\nthe network they fit: {weights.overrides}"
        )
    with torch.no_grad():
        for name, value in ours.items():
            value.copy_(theirs[name])
    left_out = [f"{name} is left out, which this network has not" for name in sorted(absent)]
    if new:
        left_out.append(f"new for {num_classes} classes: {', '.join(sorted(new))}")
    return left_out


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


def _is_below(modules: Iterable[str], name: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _aux_heads(names: Iterable[str]) -> set[str]:
    return {".".join(name.split(".")[:2]) for name in names if name.startswith("aux.")}


def _tensor_differences(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> list[str]:
    shapes = [
        f"{name} {_shape(theirs[name])}, here {_shape(ours[name])}"
        for name in ours
        if name in theirs and theirs[name].shape != ours[name].shape
    ]
    lists = {
        "missing in them": [name for name in ours if name not in theirs],
        "unknown here": [name for name in theirs if name not in ours],
        "of another shape": shapes,
    }
    return [f"{what} ({len(names)}): {_first(names)}" for what, names in lists.items() if names]


def _setting_differences(net: nn.Module, weights: Weights, left_out: set[str]) -> list[str]:
    """Layers with other settings; layers that differ in the same way share a line."""
    ours, theirs = layer_settings(net), weights.layer_settings
    skipped = left_out | (_aux_heads(ours) ^ _aux_heads(theirs))
    pairs: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys([*theirs, *ours]):
        pair = theirs.get(name, "no such layer"), ours.get(name, "no such layer")
        if pair[0] != pair[1] and not _is_below(skipped, name):
            pairs.setdefault(pair, []).append(name)
    return [
        f"with other settings ({len(names)}): {_first(names)}: {theirs}, here {ours}"
        for (theirs, ours), names in pairs.items()
    ]


def _shape(value: Tensor) -> str:
    return "×".join(map(str, value.shape)) or "one number"


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")


def is_same_preprocessing(one: Preprocess, other: Preprocess) -> bool:
    """Whether both give the same values for every pixel, whatever their scale, mean and std."""

    def close(a: Tensor, b: Tensor) -> bool:
        return torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-6)

    return (
        one.channels == other.channels
        and close(one.scale / one.std, other.scale / other.std)
        and close(one.mean / one.std, other.mean / other.std)
    )
