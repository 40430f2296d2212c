"""The ONNX zoo's GoogLeNet: BVLC's names on a graph, whose attributes and wiring are read as well."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deeper.models.googlenet import TABLE1
from deeper.models.pretrained import names
from deeper.models.pretrained.layers import WHOLE_MAP, convolution, lrn, max_pool
from deeper.models.pretrained.weights import Weights
from deeper.models.pretrained.wire import Message, float32

WORDS = "model=googlenet_bvlc model/aux=none preprocess=bvlc"

FLOAT, INT64 = 1, 7
"""Of TensorProto.DataType."""


class Node(NamedTuple):
    op: str
    inputs: list[str]
    output: str
    attributes: Mapping[str, Any]


def is_one(message: Message) -> bool:
    """A ModelProto has a graph in field 7."""
    graphs = message.all(7)
    return len(graphs) == 1 and bool(graphs[0].message().all(1))


def read(message: Message, origin: str) -> Weights:
    """Raises `ValueError` for what cannot be read; what no network of ours does is in `strange`."""
    graph = message.all(7)[-1].message()
    reader = _Reader({t.text(8): _tensor(t) for t in (f.message() for f in graph.all(5))})
    for node in (_node(field.message()) for field in graph.all(1)):
        reader.take(node)
    words = f"{WORDS} model.pretrained={origin}"
    return Weights(origin, reader.state, reader.layers, words, strange=tuple(reader.strange))


def _node(message: Message) -> Node:
    inputs, outputs = ([f.text() for f in message.all(number)] for number in (1, 2))
    attributes = {}
    for field in message.all(5):
        attribute = field.message()
        attributes[attribute.text(1)] = _value(attribute)
    return Node(message.text(4), inputs, outputs[0], attributes)


def _value(attribute: Message) -> Any:
    """Of an attribute the one kind of value that it has, among those that matter here."""
    if attribute.all(2):
        return attribute.all(2)[-1].number32()
    if attribute.all(3):
        return attribute.integer(3)
    if attribute.all(4):
        return attribute.text(4)
    if attribute.all(5):
        return _tensor(attribute.all(5)[-1].message())
    return attribute.integers(8)


def _tensor(message: Message) -> Tensor:
    name, kind, shape = message.text(8), message.integer(2), message.integers(1)
    if message.all(13) or message.integer(14):
        raise ValueError(f"{name} lies in another file; save the model as one file")
    raw = b"".join(
        bytes(field.value) for field in message.all(9) if not isinstance(field.value, int)
    )
    if kind == FLOAT:
        values = float32(raw) if raw else message.floats(4)
    elif kind == INT64:
        whole = [
            int.from_bytes(raw[i : i + 8], "little", signed=True) for i in range(0, len(raw), 8)
        ]
        values = torch.tensor(whole or message.integers(7), dtype=torch.int64)
    else:
        raise ValueError(f"{name} is of ONNX type {kind}; float32 weights are read")
    if values.numel() != torch.Size(shape).numel():
        raise ValueError(f"{name} of shape {shape} holds {values.numel()} values")
    return values.view(shape)


def _wiring() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Each layer of the paper's net: operator, name, and the layers that feed it, in their order."""
    yield "Conv", "conv1", ("image",)
    yield "MaxPool", "pool1", ("conv1",)
    yield "LRN", "norm1", ("pool1",)
    yield "Conv", "conv2_reduce", ("norm1",)
    yield "Conv", "conv2", ("conv2_reduce",)
    yield "LRN", "norm2", ("conv2",)
    yield "MaxPool", "pool2", ("norm2",)
    feeds: tuple[str, ...] = ("pool2",)
    for stage in TABLE1:
        if pool := {"inception4a": "pool3", "inception5a": "pool4"}.get(stage):
            yield "MaxPool", pool, feeds
            feeds = (pool,)
        for branch in ("conv1x1", "reduce3x3", "reduce5x5"):
            yield "Conv", f"{stage}.{branch}", feeds
        for size in ("3x3", "5x5"):
            yield "Conv", f"{stage}.conv{size}", (f"{stage}.reduce{size}",)
        yield "MaxPool", f"{stage}.pool", feeds
        yield "Conv", f"{stage}.pool_proj", (f"{stage}.pool",)
        ends = ("conv1x1", "conv3x3", "conv5x5", "pool_proj")
        feeds = tuple(f"{stage}.{end}" for end in ends)
    yield "AveragePool", "head.pool", feeds
    yield "Gemm", "head.classifier", ("head.pool",)


_FEEDS = {name: feeds for _, name, feeds in _wiring()}
_PLACES = {(op, feeds): name for op, name, feeds in _wiring() if op not in ("Conv", "Gemm")}
_PASSED = ("Dropout", "Flatten", "Identity", "Reshape", "Softmax")


class _Reader:
    """Goes through the nodes, which ONNX keeps in an order of execution."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.state: dict[str, Tensor] = {}
        self.layers: dict[str, str] = {}
        self.strange: list[str] = []
        self._tensors = tensors
        self._made_by: dict[str, tuple[str, ...]] = {}
        self._stored_as = {name: name for name in tensors}  # through a reshape, too

    def take(self, node: Node) -> None:
        first = node.inputs[0] if node.inputs else ""
        if node.op in ("ConstantOfShape", "Constant"):
            value = node.attributes.get("value", torch.zeros(1))
            shape = self._tensors[first].tolist() if node.inputs else value.shape
            self._tensors[node.output] = value.expand(shape)
            self._stored_as[node.output] = node.output
        elif node.op == "Reshape" and first in self._tensors:
            self._stored_as[node.output] = self._stored_as[first]
            self._tensors[node.output] = self._reshaped(*node.inputs)
        elif node.op in ("Conv", "Gemm"):
            self._weighted(node)
        elif node.op in _SPELL:
            self._weightless(node)
        elif node.op == "Concat":
            self._made_by[node.output] = tuple(n for i in node.inputs for n in self._sources(i))
        elif node.op == "Relu":
            sources = self._sources(first)
            self._made_by[node.output] = tuple(n.removesuffix(_NO_RELU) for n in sources)
        else:
            self._made_by[node.output] = self._sources(first)
            if node.op not in _PASSED:
                self._say(f"a layer {node.op} after {_and(self._sources(first))}")

    def _weighted(self, node: Node) -> None:
        """A convolution or linear layer, known by its weight's name as Caffe2 wrote it."""
        stored = [self._stored_as.get(name, name) for name in node.inputs[1:]]
        layer = stored[0].removesuffix("_w_0")
        module = names.BVLC.get(layer, layer)
        for name, leaf in zip(node.inputs[1:], ("weight", "bias"), strict=False):
            value = self._tensors[name]
            if node.op == "Gemm" and leaf == "weight" and not node.attributes.get("transB", 0):
                value = value.t()
            self.state[f"{module}.{leaf}"] = value
        if node.op == "Conv":
            self.layers[module] = _convolution(node.attributes)
        name = module.removesuffix(".conv")
        if self._sources(node.inputs[0]) != _FEEDS.get(name):
            self._say(f"{name} reads {_and(self._sources(node.inputs[0]))}")
        self._made_by[node.output] = (f"{name}{_NO_RELU}" if node.op == "Conv" else name,)

    def _reshaped(self, tensor: str, shape: str) -> Tensor:
        """ONNX's 0 keeps the size that stands there."""
        before, asked = self._tensors[tensor], self._tensors[shape].tolist()
        return before.reshape([size or before.shape[i] for i, size in enumerate(asked)])

    def _weightless(self, node: Node) -> None:
        """A pool or LRN, known by its place."""
        sources = self._sources(node.inputs[0])
        kind = node.op.removeprefix("Global")
        name = _PLACES.get((kind, sources), f"{kind} of {_and(sources)}")
        self.layers[name] = _SPELL[node.op](node.attributes)
        self._made_by[node.output] = (name,)

    def _sources(self, tensor: str) -> tuple[str, ...]:
        return self._made_by.get(tensor, ("image",))

    def _say(self, what: str) -> None:
        self.strange.append(f"another graph: {what}")


_NO_RELU = " without ReLU"


def _and(sources: tuple[str, ...]) -> str:
    return " + ".join(sources)


def _convolution(attributes: Mapping[str, Any]) -> str:
    stride, pads = attributes.get("strides", [1, 1]), attributes.get("pads", [0] * 4)
    plain = attributes.get("group", 1) == 1 and {*attributes.get("dilations", [1])} == {1}
    if plain and len({*stride}) == len({*pads}) == 1 and _explicit(attributes):
        return convolution(stride[0], pads[0])
    return f"convolution with {_listed(attributes)}"


def _max_pool(attributes: Mapping[str, Any]) -> str:
    """Rounding up, and one row and column more at the end, give the same windows."""
    kernel, stride = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    pads, ceil = attributes.get("pads", [0] * 4), bool(attributes.get("ceil_mode", 0))
    if pads == [0, 0, 1, 1] and kernel == [3, 3] and stride == [2, 2] and not ceil:
        pads, ceil = [0] * 4, True
    if len({*kernel}) == len({*stride}) == len({*pads}) == 1 and _explicit(attributes):
        return max_pool(kernel[0], stride[0], pads[0], rounded_up=ceil)
    return f"max pool with {_listed(attributes)}"


def _average_pool(attributes: Mapping[str, Any]) -> str:
    """At 224 px the last map has 7×7 cells."""
    whole = attributes.get("kernel_shape", [7, 7]) == [7, 7] and not any(attributes.get("pads", []))
    if whole and _explicit(attributes):
        return WHOLE_MAP
    return f"average pool with {_listed(attributes)}"


def _lrn(attributes: Mapping[str, Any]) -> str:
    get = attributes.get
    return lrn(attributes["size"], get("alpha", 1e-4), get("beta", 0.75), get("bias", 1.0))


def _explicit(attributes: Mapping[str, Any]) -> bool:
    return str(attributes.get("auto_pad", "NOTSET")) == "NOTSET"


def _listed(attributes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(attributes.items()))


_SPELL: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _average_pool,
    "LRN": _lrn,
    "MaxPool": _max_pool,
}
