"""Reads the ONNX zoo's GoogLeNet: BVLC's names of weights, and a graph whose wiring is verified."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deeper.models.googlenet import TABLE1
from deeper.models.lrn import LocalResponseNorm
from deeper.models.pretrained import names, nets
from deeper.models.pretrained.layer_settings import settings_of
from deeper.models.pretrained.weights import Weights

OVERRIDES = "model=googlenet_bvlc model/aux=none preprocess=bvlc"

POOLS_AND_LRN = ("AveragePool", "GlobalAveragePool", "LRN", "MaxPool")
NEUTRAL = ("Dropout", "Flatten", "Identity", "Reshape", "Softmax")
"""Operators after which a tensor still counts as the output of the layer before."""

CAFFE_POOL = ([3, 3], [2, 2], [0, 0, 1, 1])
"""Kernel, strides and pads of a pool that rounds up, as Caffe does, by one more row and column."""

Layers = tuple[str, ...]
"""Names of the layers that a tensor comes from; several after a concatenation."""


def read(path: Path, origin: str) -> Weights:
    """Raises for a file that is no ONNX graph; `unsupported` lists where its wiring is another one."""
    try:
        import onnx
    except ImportError as error:
        raise ValueError("it needs the onnx package: pip install -e '.[export]'") from error
    graph = onnx.load(path).graph
    reader = _GraphReader({t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer})
    for node in graph.node:
        reader.add(node, {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute})
    if not reader.state:
        raise ValueError("no layer with weights")
    return Weights(
        origin,
        {name: torch.tensor(value) for name, value in reader.state.items()},
        reader.settings,
        f"{OVERRIDES} model.pretrained={origin}",
        nets.bvlc_preprocess(),
        unsupported=tuple(reader.unsupported),
    )


def _wiring() -> Iterator[tuple[str, str, Layers]]:
    """Operator, name and inputs of each layer of the paper's network."""
    yield "Conv", "conv1", ("image",)
    yield "MaxPool", "pool1", ("conv1",)
    yield "LRN", "norm1", ("pool1",)
    yield "Conv", "conv2_reduce", ("norm1",)
    yield "Conv", "conv2", ("conv2_reduce",)
    yield "LRN", "norm2", ("conv2",)
    yield "MaxPool", "pool2", ("norm2",)
    inputs: Layers = ("pool2",)
    for stage in TABLE1:
        if pool := {"inception4a": "pool3", "inception5a": "pool4"}.get(stage):
            yield "MaxPool", pool, inputs
            inputs = (pool,)
        for branch in ("conv1x1", "reduce3x3", "reduce5x5"):
            yield "Conv", f"{stage}.{branch}", inputs
        for size in ("3x3", "5x5"):
            yield "Conv", f"{stage}.conv{size}", (f"{stage}.reduce{size}",)
        yield "MaxPool", f"{stage}.pool", inputs
        yield "Conv", f"{stage}.pool_proj", (f"{stage}.pool",)
        ends = ("conv1x1", "conv3x3", "conv5x5", "pool_proj")
        inputs = tuple(f"{stage}.{end}" for end in ends)
    yield "AveragePool", "head.pool", inputs
    yield "Gemm", "head.classifier", ("head.pool",)


_INPUTS = {name: inputs for _, name, inputs in _wiring()}
_LAYER_AT = {(op, inputs): name for op, name, inputs in _wiring()}
"""Pools and LRN have no names in the graph: their operator and inputs tell which layer they are."""


class _GraphReader:
    """Takes the nodes in their order, which is one of execution."""

    def __init__(self, constants: dict[str, np.ndarray]) -> None:
        self.state: dict[str, np.ndarray] = {}
        self.settings: dict[str, str] = {}
        self.unsupported: list[str] = []
        self._constants = constants
        self._stored_name = {name: name for name in constants}
        self._layers: dict[str, Layers] = {}
        """Tensor → the layers whose output it is."""

    def add(self, node: Any, attributes: Mapping[str, Any]) -> None:
        op, output = node.op_type, node.output[0]
        inputs = [self._layers.get(name, ("image",)) for name in node.input[:1]]
        if all(name in self._constants for name in node.input):
            self._compute_constant(node)
        elif op in ("Conv", "Gemm"):
            self._layers[output] = (self._add_weights(node, attributes, inputs[0]),)
        elif op in POOLS_AND_LRN:
            kind = op.removeprefix("Global")
            name = _LAYER_AT.get((kind, inputs[0]), f"{kind} of {_joined(inputs[0])}")
            self.settings[name] = _settings(op, attributes)
            self._layers[output] = (name,)
        elif op == "Concat":
            parts = (self._layers.get(name, ("image",)) for name in node.input)
            self._layers[output] = tuple(name for part in parts for name in part)
        elif op == "Relu":
            self._layers[output] = tuple(name.removesuffix(_WITHOUT_RELU) for name in inputs[0])
        else:
            self._layers[output] = inputs[0]
            if op not in NEUTRAL:
                self.unsupported.append(f"another graph: {op} after {_joined(inputs[0])}")

    def _compute_constant(self, node: Any) -> None:
        """Weights may be stored in another shape, or as a fill value."""
        from onnx.reference import ReferenceEvaluator

        given = {name: self._constants[name] for name in node.input}
        self._constants[node.output[0]] = ReferenceEvaluator(node).run(None, given)[0]
        first = node.input[0] if node.op_type == "Reshape" else node.output[0]
        self._stored_name[node.output[0]] = self._stored_name.get(first, first)

    def _add_weights(self, node: Any, attributes: Mapping[str, Any], inputs: Layers) -> str:
        """The layer's name, by the name of its stored weight: Caffe2 wrote <Caffe's layer>_w_0."""
        layer = self._stored_name[node.input[1]].removesuffix("_w_0")
        module = names.BVLC.get(layer, layer)
        name = module.removesuffix(".conv")
        for tensor, leaf in zip(node.input[1:], ("weight", "bias"), strict=False):
            value = self._constants[tensor]
            transposed = node.op_type == "Gemm" and not attributes.get("transB", 0)
            self.state[f"{module}.{leaf}"] = value.T if transposed else value
        if inputs != _INPUTS.get(name):
            self.unsupported.append(f"another graph: {name} reads {_joined(inputs)}")
        if node.op_type == "Gemm":
            return name
        self.settings[module] = _settings("Conv", attributes)
        return f"{name}{_WITHOUT_RELU}"


_WITHOUT_RELU = " without ReLU"


def _joined(layers: Layers) -> str:
    return " + ".join(layers)


def _settings(op: str, attributes: Mapping[str, Any]) -> str:
    """Those of the equal torch module, or the attributes themselves where torch has no equal."""
    if module := _module(op, attributes):
        return settings_of(module)
    listed = ", ".join(f"{name} {value}" for name, value in sorted(attributes.items()))
    return f"{op} with {listed}"


def _module(op: str, attributes: Mapping[str, Any]) -> nn.Module | None:
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
