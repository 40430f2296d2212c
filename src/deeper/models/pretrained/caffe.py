"""Reads BVLC's `.caffemodel`, in the layer format of 2014 (V1) and in the one since 2015."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from torch import Tensor

from deeper.models.pretrained import names, nets
from deeper.models.pretrained.layer_settings import layer_settings
from deeper.models.pretrained.weights import Weights

OVERRIDES = "model=googlenet_bvlc preprocess=bvlc"

FIELDS = {
    "BlobShape": [("dim", 1, "int64", "repeated")],
    "BlobProto": [
        ("num", 1, "int32", "optional"),
        ("channels", 2, "int32", "optional"),
        ("height", 3, "int32", "optional"),
        ("width", 4, "int32", "optional"),
        ("data", 5, "float", "repeated"),
        ("shape", 7, "BlobShape", "optional"),
    ],
    "LayerParameter": [
        ("name", 1, "string", "optional"),
        ("blobs", 7, "BlobProto", "repeated"),
    ],
    "V1LayerParameter": [
        ("name", 4, "string", "optional"),
        ("blobs", 6, "BlobProto", "repeated"),
    ],
    "NetParameter": [
        ("layers", 2, "V1LayerParameter", "repeated"),
        ("layer", 100, "LayerParameter", "repeated"),
    ],
}
"""Message → (name, number, type, label) of the fields read here, from Caffe's caffe.proto."""


def read(path: Path, origin: str) -> Weights:
    """Weights of every layer that has some. Raises for bytes that are no caffemodel."""
    network = net_parameter().FromString(path.read_bytes())
    state: dict[str, Tensor] = {}
    for layer in [*network.layer, *network.layers]:
        module = names.BVLC.get(layer.name, layer.name)
        for leaf, blob in zip(("weight", "bias"), layer.blobs, strict=False):
            state[f"{module}.{leaf}"] = _tensor(blob, module, leaf)
    if not state:
        raise ValueError("no layer with weights")
    with torch.device("meta"):
        net = nets.bvlc_net(aux=any(name.startswith("aux.") for name in state))
    overrides = f"{OVERRIDES} model.pretrained={origin}"
    return Weights(origin, state, layer_settings(net), overrides, nets.bvlc_preprocess())


def net_parameter() -> Any:
    """The protobuf class of Caffe's NetParameter, with the fields of `FIELDS` alone."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message, fields in FIELDS.items():
        described = file.message_type.add(name=message)
        for name, number, kind, label in fields:
            field = described.field.add(name=name, number=number)
            field.label = field.Label.Value(f"LABEL_{label.upper()}")
            if kind in FIELDS:
                field.type, field.type_name = field.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                field.type = field.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))


def _tensor(blob: Any, module: str, leaf: str) -> Tensor:
    """V1 blobs have four dimensions; leading ones of size 1 are dropped down to the layer's own number."""
    shape = [*blob.shape.dim] or [blob.num, blob.channels, blob.height, blob.width]
    dimensions = 1 if leaf == "bias" else 2 if module.endswith((".fc", ".classifier")) else 4
    while len(shape) > dimensions and shape[0] == 1:
        shape = shape[1:]
    return torch.from_numpy(np.array(blob.data, dtype=np.float32)).view(shape)
