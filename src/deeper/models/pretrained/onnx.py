"""Reads the ONNX zoo's GoogLeNet: BVLC's network with Caffe2's names of weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deeper.models.lrn import LocalResponseNorm
from deeper.models.pretrained import names, nets
from deeper.models.pretrained.layer_settings import settings_of
from deeper.models.pretrained.weights import Weights

OVERRIDES = "model=googlenet_bvlc model/aux=none preprocess=bvlc"

LAYERS: dict[str, type[nn.Module]] = {
    "Conv": nn.Conv2d,
    "Relu": nn.ReLU,
    "MaxPool": nn.MaxPool2d,
    "LRN": LocalResponseNorm,
    "AveragePool": nn.AdaptiveAvgPool2d,
    "Gemm": nn.Linear,
}
"""Operator → the kind of module in our network."""

CONSTANTS = ("Constant", "ConstantOfShape")
NEUTRAL = ("Concat", "Dropout", "Flatten", "Identity", "Reshape", "Softmax", *CONSTANTS)

BRANCHES = ("conv1x1", "conv3x3", "conv5x5", "pool_proj")
"""Of an Inception module, in the order of their concatenation."""

CAFFE_POOL = ([3, 3], [2, 2], [0, 0, 1, 1])
"""Kernel, strides and pads of a pool that rounds up, as Caffe does, by one more row and column."""


def read(path: Path, origin: str) -> Weights:
    """Raises for a file that is no ONNX graph; `unsupported` lists where the graph is not GoogLeNet's."""
    try:
        import onnx
    except ImportError as error:
        raise ValueError("it needs the onnx package: pip install -e '.[export]'") from error
    graph = onnx.load(path).graph
    values, stored_names = _constants(graph)
    state: dict[str, Tensor] = {}
    layers: dict[str, str] = {}  # output of a convolution or linear layer → our module
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            stored = stored_names[node.input[1]].removesuffix("_w_0")  # <layer in Caffe>_w_0
            layers[node.output[0]] = module = names.BVLC.get(stored, stored)
            transposed = node.op_type == "Gemm" and not _attributes(node).get("transB", 0)
            weight = values[node.input[1]]
            state[f"{module}.weight"] = weight.T if transposed else weight
            if len(node.input) > 2:
                state[f"{module}.bias"] = values[node.input[2]]
    if not state:
        raise ValueError("no layer with weights")
    with torch.device("meta"):
        net = nets.bvlc_net(aux=False)
    return Weights(
        origin,
        state,
        _layer_settings(graph.node, layers, net),
        f"{OVERRIDES} model.pretrained={origin}",
        nets.bvlc_preprocess(),
        unsupported=_graph_differences(graph.node, layers, net),
    )


def _constants(graph: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors that do not depend on the input, and the name under which each of them is stored.

    A weight may be stored in another shape (Reshape) or as a fill value (ConstantOfShape).
    """
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    values: dict[str, Any] = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer
    }
    stored_names = {name: name for name in values}
    for node in graph.node:
        if all(name in values for name in node.input):
            output = node.output[0]
            inputs = {name: values[name] for name in node.input}
            (values[output],) = ReferenceEvaluator(node).run(None, inputs)
            source = output if node.op_type in CONSTANTS else node.input[0]
            stored_names[output] = stored_names.get(source, source)
    return {name: torch.tensor(value) for name, value in values.items()}, stored_names


def _attributes(node: Any) -> dict[str, Any]:
    from onnx.helper import get_attribute_value

    return {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}


def _nodes(nodes: Sequence[Any], op: str) -> list[Any]:
    return [node for node in nodes if node.op_type.removeprefix("Global") == op]


def _layer_settings(
    nodes: Sequence[Any], layers: Mapping[str, str], net: nn.Module
) -> dict[str, str]:
    """Settings of the graph's convolutions by name, of its pools and LRN by their order."""
    settings = {layers[node.output[0]]: _settings(node) for node in _nodes(nodes, "Conv")}
    for op in ("MaxPool", "LRN", "AveragePool"):
        ours = [name for name, module in net.named_modules() if isinstance(module, LAYERS[op])]
        settings |= zip(ours, map(_settings, _nodes(nodes, op)), strict=False)
    return settings


def _graph_differences(
    nodes: Sequence[Any], layers: Mapping[str, str], net: nn.Module
) -> list[str]:
    """Other operators, another number of them, or branches concatenated in another order."""
    differences = []
    branches = {output: module.removesuffix(".conv") for output, module in layers.items()}
    for node in nodes:
        if node.op_type.removeprefix("Global") not in (*LAYERS, *NEUTRAL):
            differences.append(f"another graph: an operator {node.op_type}")
        if node.op_type == "Relu":
            branches[node.output[0]] = branches.get(node.input[0], node.input[0])
        if node.op_type == "Concat":
            found = [branches.get(name, name) for name in node.input]
            stage = found[0].rpartition(".")[0]
            if found != [f"{stage}.{branch}" for branch in BRANCHES]:
                differences.append(f"another graph: {' + '.join(found)} are concatenated")
    for op, kind in LAYERS.items():
        ours = sum(isinstance(module, kind) for module in net.modules())
        if (theirs := len(_nodes(nodes, op))) != ours:
            differences.append(f"another graph: {theirs} operators {op}, here {ours}")
    return differences


def _settings(node: Any) -> str:
    """Those of the equal torch module, or the node's attributes where torch has none."""
    attributes = _attributes(node)
    if module := _module(node.op_type, attributes):
        return settings_of(module)
    listed = ", ".join(f"{name} {value}" for name, value in sorted(attributes.items()))
    return f"{node.op_type} with {listed}"


def _module(op: str, attributes: Mapping[str, Any]) -> nn.Module | None:
    """The torch module with a node's settings; None where torch has none."""
    get = attributes.get
    if op == "LRN":
        # Attributes are float32: 1e-4 is stored as 9.999999747378752e-05.
        defaults = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
        constants = [float(f"{get(name, default):.6g}") for name, default in defaults.items()]
        return LocalResponseNorm(attributes["size"], *constants)
    if get("auto_pad", b"NOTSET") != b"NOTSET" or get("group", 1) != 1:
        return None
    pads, ceil_mode = get("pads", [0]), bool(get("ceil_mode", 0))
    if op == "MaxPool" and (get("kernel_shape"), get("strides"), pads) == CAFFE_POOL:
        pads, ceil_mode = [0], True
    values = [{*get(name, [1])} for name in ("kernel_shape", "strides", "dilations")] + [{*pads}]
    if any(len(value) > 1 for value in values):
        return None
    kernel, stride, dilation, padding = (value.pop() for value in values)
    if op == "Conv":
        return nn.Conv2d(1, 1, 1, stride, padding) if dilation == 1 else None
    if op == "MaxPool":
        return nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    # At 224 px the last map has 7×7 cells.
    whole_map = op == "GlobalAveragePool" or (kernel == 7 and padding == 0)
    return nn.AdaptiveAvgPool2d(1) if whole_map else None
