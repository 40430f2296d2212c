"""Names of layers: ours, Caffe's (which the ONNX zoo kept) and torchvision's."""

from collections.abc import Iterable

from torch import Tensor

from deeper.models.googlenet import TABLE1

_BRANCHES = {
    "conv1x1": ("1x1", "branch1"),
    "reduce3x3": ("3x3_reduce", "branch2.0"),
    "conv3x3": ("3x3", "branch2.1"),
    "reduce5x5": ("5x5_reduce", "branch3.0"),
    "conv5x5": ("5x5", "branch3.1"),
    "pool_proj": ("pool_proj", "branch4.1"),
}
_CONVOLUTIONS = {
    "conv1": ("conv1/7x7_s2", "conv1"),
    "conv2_reduce": ("conv2/3x3_reduce", "conv2"),
    "conv2": ("conv2/3x3", "conv3"),
} | {
    f"{stage}.{branch}": (f"{stage.replace('inception', 'inception_')}/{caffe}", f"{stage}.{torch}")
    for stage in TABLE1
    for branch, (caffe, torch) in _BRANCHES.items()
}
_AUX = {"inception4a": 1, "inception4d": 2}
_CONVOLUTIONS |= {f"aux.{tap}.conv": (f"loss{n}/conv", f"aux{n}.conv") for tap, n in _AUX.items()}
_LINEAR = {"head.classifier": ("loss3/classifier", "fc")}
for _tap, _n in _AUX.items():
    _LINEAR[f"aux.{_tap}.fc"] = (f"loss{_n}/fc", f"aux{_n}.fc1")
    _LINEAR[f"aux.{_tap}.classifier"] = (f"loss{_n}/classifier", f"aux{_n}.fc2")

BVLC = {caffe: f"{ours}.conv" for ours, (caffe, _) in _CONVOLUTIONS.items()}
BVLC |= {caffe: ours for ours, (caffe, _) in _LINEAR.items()}
"""Caffe's layer → our module that holds its weight and bias."""

TORCHVISION = {
    f"{torch}.{theirs}": f"{ours}.{kind}"
    for ours, (_, torch) in _CONVOLUTIONS.items()
    for theirs, kind in {"conv": "conv", "bn": "norm"}.items()
}
TORCHVISION |= {torch: ours for ours, (_, torch) in _LINEAR.items()}
"""torchvision's module → ours."""


def from_bvlc(blobs: Iterable[tuple[str, str, Tensor]]) -> dict[str, Tensor]:
    """(Caffe's layer, weight or bias, values) → values under our names; unknown layers keep theirs.

    Old files give every blob four dimensions: those of biases and linear layers lose leading ones.
    """
    state = {}
    for layer, leaf, values in blobs:
        module = BVLC.get(layer, layer)
        if leaf == "bias":
            values = values.flatten()
        elif module in _LINEAR:
            values = values.flatten(0, -2)
        state[f"{module}.{leaf}"] = values
    return state
