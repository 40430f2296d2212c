"""Reads BVLC's `.caffemodel`, in the layer format of 2014 (V1) and in the one since 2015."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from torch import Tensor

from deeper.models.pretrained.names import from_bvlc

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


def read(path: Path) -> dict[str, Tensor]:
    """Weights of every layer that has some. Raises for bytes that are no caffemodel."""
    network = net_parameter().FromString(path.read_bytes())
    return from_bvlc(_blobs([*network.layer, *network.layers]))


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


def _blobs(layers: list[Any]) -> Iterator[tuple[str, str, Tensor]]:
    for layer in layers:
        for leaf, blob in zip(("weight", "bias"), layer.blobs, strict=False):
            shape = [*blob.shape.dim] or [blob.num, blob.channels, blob.height, blob.width]
            values = torch.from_numpy(np.array(blob.data, dtype=np.float32))
            yield layer.name, leaf, values.view(shape)
