"""An ONNX model of any batch size in one file, for ONNX Runtime and other readers."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from deeper.export.graph import Graph

FILE = "model.onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 20
"""The opset that torch's exporter writes without a conversion; ONNX Runtime reads it since 1.17."""


def encode(graph: Graph) -> bytes:
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the exporter's own code
        program = torch.onnx.export(
            graph.program,
            (graph.example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None  # noqa: S101
    proto = program.model_proto
    for node in proto.graph.node:
        del node.metadata_props[:]  # the exporter's notes, twice as large as the graph
    del proto.graph.value_info[:], proto.metadata_props[:]
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    properties = {"preprocessing": graph.metadata, "classes": graph.trained.classes}
    onnx.helper.set_model_props(
        proto, {name: json.dumps(value, ensure_ascii=False) for name, value in properties.items()}
    )
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


def open_file(path: Path, graph: Graph) -> Callable[[Tensor], Tensor]:
    """By ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def forward(images: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        return torch.from_numpy(logits)

    return forward
