"""Weights from elsewhere in this project's names, and how a network takes them: whole, or not at all."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deeper.models.preprocess import Preprocess
from deeper.models.pretrained.layers import layers

SHOWN = 4
"""How many names a refusal spells out of each list."""


@dataclass(frozen=True)
class Weights:
    """Made by an importer."""

    origin: str
    """Where they come from, for messages."""
    state: Mapping[str, Tensor]
    """In our names; what an importer has no name for keeps its own, and no network takes it."""
    layers: Mapping[str, str]
    """As `layers.layers`, of the network that the weights were made for."""
    words: str
    """What to put on the command line for that network."""
    preprocess: Preprocess | None = None
    """What the images went through; what is usual for files of this kind where `published` is false."""
    published: bool = False
    """Whether all about them is known for certain."""
    strange: tuple[str, ...] = ()
    """What the weights' own network does that none of ours can."""
    note: str = ""
    """What one has to know who uses the whole network."""

    @property
    def num_classes(self) -> int:
        """Of what was published, K in the paper's head."""
        if "head.classifier.weight" not in self.state:
            raise ValueError(f"{self.origin}: has no main classifier; is it a GoogLeNet?")
        return int(self.state["head.classifier.weight"].shape[0])


def load(net: nn.Module, weights: Weights, *, num_classes: int | None = None) -> list[str]:
    """Put `weights` into `net`; answers what was left out.

    With `num_classes` the classes are other ones: `net.reset_classifier` makes the classifier anew, and
    the weights need fit the rest alone. An auxiliary head that `net` has not is left out. Raises
    `ValueError` that lists all that does not fit, with no weight of them in `net`.
    """
    anew = set() if num_classes is None else _reset(net, num_classes)
    given = {name: value for name, value in weights.state.items() if not _under(anew, name)}
    absent = {name for name in _taps(given) if name not in _taps(net.state_dict())}
    given = {name: value for name, value in given.items() if not _under(absent, name)}
    wanted = {name: value for name, value in net.state_dict().items() if not _under(anew, name)}
    if lines := [*_names(given, wanted), *_doings(net, weights, anew | absent)]:
        listed = "\n".join(f"  {line}" for line in lines)
        raise ValueError(
            f"{weights.origin}: these weights are of another network, and nothing was loaded\n"
            f"{listed}\nthe network they fit: {weights.words}"
        )
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(given[name])
    left_out = [f"{name} is left out, which this network has not" for name in sorted(absent)]
    return left_out + (
        [f"made anew for {num_classes} classes: {', '.join(sorted(anew))}"] if anew else []
    )


def _reset(net: nn.Module, num_classes: int) -> set[str]:
    """The children that `reset_classifier` made anew."""
    reset: Callable[[int], object] | None = getattr(net, "reset_classifier", None)
    if reset is None:
        raise ValueError(
            f"{type(net).__name__} has no reset_classifier(num_classes), which other classes need"
        )
    before = {name: id(value) for name, value in net.named_parameters()}
    kept = list(net.parameters())  # so that no id is given twice
    reset(num_classes)
    anew = {name for name, value in net.named_parameters() if before.get(name) != id(value)}
    del kept
    return {name.partition(".")[0] for name in anew}


def _under(prefixes: Iterable[str], name: str) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _taps(names: Iterable[str]) -> set[str]:
    return {".".join(name.split(".")[:2]) for name in names if name.startswith("aux.")}


def _names(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    missing = [name for name in wanted if name not in given]
    extra = [name for name in given if name not in wanted]
    shaped = [
        f"{name} {_shape(given[name])}, here {_shape(wanted[name])}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    lists = {"missing in them": missing, "unknown here": extra, "of another shape": shaped}
    return [f"{what} ({len(names)}): {_few(names)}" for what, names in lists.items() if names]


def _doings(net: nn.Module, weights: Weights, left_out: set[str]) -> list[str]:
    """Layers that compute something else; the same difference is said once."""
    here, there = layers(net), weights.layers
    taps = _taps(here) ^ _taps(there)
    pairs: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys([*there, *here]):
        ours, theirs = here.get(name, "no such layer"), there.get(name, "no such layer")
        if ours != theirs and not _under(left_out | taps, name):
            pairs.setdefault((theirs, ours), []).append(name)
    different = [
        f"of another kind ({len(names)}): {_few(names)}: {theirs}, here {ours}"
        for (theirs, ours), names in pairs.items()
    ]
    return different + list(weights.strange)


def _shape(value: Tensor) -> str:
    return "×".join(map(str, value.shape)) or "one number"


def _few(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")


def same_preprocessing(one: Preprocess, other: Preprocess) -> bool:
    """Whether both give the same for every pixel, however they spell it."""

    def close(a: Tensor, b: Tensor) -> bool:
        return torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-6)

    gain, shift = one.scale / one.std, one.mean / one.std
    return (
        one.channels == other.channels
        and close(gain, other.scale / other.std)
        and close(shift, other.mean / other.std)
    )
