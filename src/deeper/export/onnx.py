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

LIMIT = 2**31 - 1
"""The largest protobuf message, in bytes."""


def encode(graph: Graph) -> bytes:
    import onnx

    bytes_needed = sum(p.numel() * p.element_size() for p in graph.folded.parameters())
    if bytes_needed >= LIMIT:
        raise ValueError(
            f"{FILE}: {bytes_needed / 1e9:.1f} GB of weights, and one ONNX file holds at most 2.1; "
            f"use format=torch_export or format=safetensors"
        )
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
    """A session of ONNX Runtime on as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Spinning threads would slow down the next form that is timed.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def forward(images: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        return torch.from_numpy(logits)

    return forward
