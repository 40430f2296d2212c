"""BVLC's `.caffemodel`, in either generation of Caffe's format. Neither Caffe nor protobuf is needed."""

from collections.abc import Iterator

import torch
from torch import Tensor

from deeper.models.pretrained import names, nets
from deeper.models.pretrained.layers import layers
from deeper.models.pretrained.weights import Weights
from deeper.models.pretrained.wire import Message

WORDS = "model=googlenet_bvlc preprocess=bvlc"

LAYER, LEGACY_LAYER = 100, 2
"""Fields of NetParameter. Models of 2014 are LEGACY_LAYER's."""

NAME = {LAYER: 1, LEGACY_LAYER: 4}
BLOBS = {LAYER: 7, LEGACY_LAYER: 6}
DATA, SHAPE, LEGACY_SHAPE = 5, 7, (1, 2, 3, 4)
"""Fields of BlobProto: float values, BlobShape, and once num, channels, height, width."""

LEAVES = ("weight", "bias")


def is_one(message: Message) -> bool:
    return any(_layers(message))


def read(message: Message, origin: str) -> Weights:
    """Layers without weights and those of the data are passed over. Raises `ValueError` for bad blobs."""
    state: dict[str, Tensor] = {}
    for layer, blobs in _layers(message):
        module = names.BVLC.get(layer, layer)
        for place, blob in enumerate(blobs):
            leaf = LEAVES[place] if place < len(LEAVES) else f"blob{place}"
            state[f"{module}.{leaf}"] = _tensor(
                blob, layer, linear=_is_linear(module), bias=leaf == "bias"
            )
    with torch.device("meta"):
        made_for = layers(nets.bvlc(aux=any(name.startswith("aux.") for name in state)))
    return Weights(origin, state, made_for, f"{WORDS} model.pretrained={origin}")


def _layers(message: Message) -> Iterator[tuple[str, list[Message]]]:
    """Name and blobs of every layer that has any."""
    for kind in (LAYER, LEGACY_LAYER):
        for field in message.all(kind):
            layer = field.message()
            if blobs := [blob.message() for blob in layer.all(BLOBS[kind])]:
                yield layer.text(NAME[kind]), blobs


def _is_linear(module: str) -> bool:
    return module.endswith((".fc", ".classifier"))


def _tensor(blob: Message, where: str, *, linear: bool, bias: bool) -> Tensor:
    """Once every blob had four dimensions, of which those that a layer has not are 1 and lead."""
    if blob.all(SHAPE):
        shape = blob.all(SHAPE)[-1].message().integers(1)
    else:
        shape = [blob.integer(number) for number in LEGACY_SHAPE]
    values = blob.floats(DATA)
    if values.numel() != torch.Size(shape).numel():
        raise ValueError(f"{where}: a blob of shape {shape} holds {values.numel()} values")
    dimensions = 1 if bias else 2 if linear else 4
    while len(shape) > dimensions and shape[0] == 1:
        shape = shape[1:]
    return values.view(shape)
