"""Reading a graph with the ONNX zoo's names, and the one that the onnx package ships."""

from pathlib import Path

import pytest
import torch

from deeper.models.pretrained import names, nets
from deeper.models.pretrained import onnx as importer
from deeper.models.pretrained.weights import load_weights

onnx = pytest.importorskip("onnx")
numpy_helper, helper = onnx.numpy_helper, onnx.helper

MAX_POOL = "MaxPool2d(kernel_size=3, stride=2, padding={}, dilation=1, ceil_mode={})"


class Graph:
    """The zoo's way to write BVLC's net: Caffe2's names, pads for Caffe's rounding."""

    def __init__(self, net, **change):
        self.net, self.change = net, change
        self.nodes, self.tensors = [], []
        x = self.conv("data_0", "conv1/7x7_s2", strides=[2, 2], pads=[3] * 4)
        x = self.lrn(self.halve(x, "pool1"), "norm1")
        x = self.conv(self.conv(x, "conv2/3x3_reduce"), "conv2/3x3", pads=[1] * 4)
        x = self.halve(self.lrn(x, "norm2"), "pool2")
        for stage in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
            if stage in ("4a", "5a"):
                x = self.halve(x, f"pool{stage[0]}")
            x = self.module(x, f"inception_{stage}")
        x = self.add("AveragePool", [x], kernel_shape=[7, 7], strides=[1, 1], pads=[0] * 4)
        x = self.add("Dropout", [x], ratio=0.4)
        self.store("loss3/classifier")
        self.tensors.append(numpy_helper.from_array(torch.tensor([1, 1024]).numpy(), "shape"))
        x = self.add("Reshape", [x, "shape"])
        x = self.add("Gemm", [x, "loss3/classifier_w_0", "loss3/classifier_b_0"], transB=1)
        self.add("Softmax", [x])

    def add(self, op, inputs, name=None, **attributes):
        attributes |= self.change.get(name, {})
        output = f"r{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def store(self, layer):
        module = self.net.get_submodule(names.BVLC[layer])
        for value, letter in ((module.weight, "w"), (module.bias, "b")):
            array = numpy_helper.from_array(value.detach().numpy(), f"{layer}_{letter}_0")
            self.tensors.append(array)

    def conv(self, x, layer, strides=(1, 1), pads=(0,) * 4):
        self.store(layer)
        inputs = [x, f"{layer}_w_0", f"{layer}_b_0"]
        return self.add("Relu", [self.add("Conv", inputs, layer, strides=strides, pads=pads)])

    def halve(self, x, name):
        return self.add(
            "MaxPool", [x], name, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]
        )

    def lrn(self, x, name):
        return self.add("LRN", [x], name, size=5, alpha=1e-4, beta=0.75, bias=1.0)

    def module(self, x, layer):
        pooled = self.add("MaxPool", [x], kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
        branches = [
            self.conv(x, f"{layer}/1x1"),
            self.conv(self.conv(x, f"{layer}/3x3_reduce"), f"{layer}/3x3", pads=[1] * 4),
            self.conv(self.conv(x, f"{layer}/5x5_reduce"), f"{layer}/5x5", pads=[2] * 4),
            self.conv(pooled, f"{layer}/pool_proj"),
        ]
        if self.change.get("swap") == layer:
            branches.reverse()
        return self.add("Concat", branches, axis=1)

    def data(self):
        graph = helper.make_graph(self.nodes, "googlenet", [], [], self.tensors)
        return helper.make_model(graph).SerializeToString()


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(0)
    net = nets.bvlc_net(6, aux=False)
    with torch.no_grad():
        for value in net.parameters():
            value.normal_(0, 0.05)
    return net


@pytest.fixture
def read(tmp_path):
    def of(data):
        (tmp_path / "a.onnx").write_bytes(data)
        return importer.read(tmp_path / "a.onnx", "a.onnx")

    return of


def refusal_of(weights, net=None):
    with pytest.raises(ValueError, match="nothing was loaded") as refusal:
        load_weights(net or nets.bvlc_net(weights.num_classes, aux=False), weights)
    *lines, words = str(refusal.value).splitlines()[1:]
    assert words == (
        "the network they fit: model=googlenet_bvlc model/aux=none preprocess=bvlc "
        "model.pretrained=a.onnx"
    )
    return [line.strip() for line in lines]


def test_loads_exactly(source, read):
    net = nets.bvlc_net(6, aux=False)
    assert load_weights(net, read(Graph(source).data())) == []
    for name, value in net.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


def test_rounding_up_may_be_said_by_ceil_mode(source, read):
    graph = Graph(source, pool1={"pads": [0] * 4, "ceil_mode": 1})
    assert load_weights(nets.bvlc_net(6, aux=False), read(graph.data())) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"norm2": {"alpha": 2e-4}},
            "with other settings (1): norm2: LocalResponseNorm(5, alpha=0.0002, beta=0.75, k=1.0), "
            "here LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)",
        ),
        (
            {"pool2": {"pads": [1] * 4}},
            f"with other settings (1): pool2: {MAX_POOL.format(1, False)}, "
            f"here {MAX_POOL.format(0, True)}",
        ),
        (
            {"conv1/7x7_s2": {"pads": [2, 2, 3, 3]}},
            "with other settings (1): conv1.conv: Conv with pads [2, 2, 3, 3], strides [2, 2], "
            "here Conv2d(stride=(2, 2), padding=(3, 3))",
        ),
    ],
    ids=["lrn", "pads", "conv"],
)
def test_attributes_that_differ_are_said(source, change, line, read):
    assert refusal_of(read(Graph(source, **change).data())) == [line]


def test_another_order_of_branches_is_refused(source, read):
    branches = [f"inception3a.{name}" for name in ("pool_proj", "conv5x5", "conv3x3", "conv1x1")]
    assert refusal_of(read(Graph(source, swap="inception_3a").data())) == [
        f"another graph: {' + '.join(branches)} are concatenated"
    ]


@pytest.mark.parametrize(
    ("operator", "lines"),
    [
        ("Identity", ["another graph: 56 operators Relu, here 57"]),
        (
            "Sigmoid",
            ["another graph: an operator Sigmoid", "another graph: 56 operators Relu, here 57"],
        ),
    ],
)
def test_another_activation_is_refused(source, read, operator, lines):
    graph = Graph(source)
    next(node for node in graph.nodes if node.op_type == "Relu").op_type = operator
    assert refusal_of(read(graph.data())) == lines


def test_wrong_shapes_missing_and_extra_names(source, read):
    graph = Graph(source)
    kept = [t for t in graph.tensors if not t.name.startswith("conv2/3x3_w")]
    kept.append(numpy_helper.from_array(torch.ones(192, 64, 5, 5).numpy(), "conv2/3x3_w_0"))
    graph.tensors = kept
    for node in graph.nodes:
        for place, name in enumerate(node.input):
            if name.startswith("inception_3a/1x1"):
                node.input[place] = name.replace("inception_3a/1x1", "mine")
    for tensor in graph.tensors:
        tensor.name = tensor.name.replace("inception_3a/1x1", "mine")
    lines = refusal_of(read(graph.data()))
    assert lines[:3] == [
        "missing in them (2): inception3a.conv1x1.conv.weight, inception3a.conv1x1.conv.bias",
        "unknown here (2): mine.weight, mine.bias",
        "of another shape (1): conv2.conv.weight 192×64×5×5, here 192×64×3×3",
    ]


def test_auxiliary_heads_are_not_in_it(source, read):
    lines = refusal_of(read(Graph(source).data()), nets.bvlc_net(6))
    assert lines == [
        "missing in them (12): aux.inception4a.conv.conv.weight, aux.inception4a.conv.conv.bias, "
        "aux.inception4a.fc.weight, aux.inception4a.fc.bias …"
    ]
    net = nets.bvlc_net(3)
    assert load_weights(net, read(Graph(source).data()), num_classes=3) == [
        "new for 3 classes: aux, head"
    ]


def test_the_graph_that_the_package_ships(read):
    """Its pools round down without pads, so its maps are 55, 27, 13 and 6 cells wide: not the paper's."""
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    weights = read((folder / "light_inception_v1.onnx").read_bytes())
    assert len([n for n, text in weights.layer_settings.items() if text.startswith("Conv2d")]) == 57
    assert len(weights.state) == 2 * (57 + 1)
    bvlc = "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)"
    assert (weights.layer_settings["norm1"], weights.layer_settings["norm2"]) == (bvlc, bvlc)
    assert refusal_of(weights) == [
        f"with other settings (4): pool1, pool2, pool3, pool4: {MAX_POOL.format(0, False)}, "
        f"here {MAX_POOL.format(0, True)}",
        "with other settings (1): head.pool: AveragePool with kernel_shape [7, 7], "
        "pads [0, 0, 1, 1], strides [1, 1], here AdaptiveAvgPool2d(output_size=1)",
    ]
