"""A graph with the ONNX zoo's names is accepted if it computes what our network does, and only then."""

import re

import pytest
import torch

from deeper.models.pretrained import names
from deeper.models.pretrained.weights import load_weights

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
numpy_helper, helper = onnx.numpy_helper, onnx.helper


class Graph:
    """The zoo's way to write BVLC's net: Caffe2's names, pads for Caffe's rounding, probabilities."""

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
        self.store("loss3/classifier")
        self.tensors.append(numpy_helper.from_array(torch.tensor([1, 1024]).numpy(), "shape"))
        x = self.add("Reshape", [x, "shape"])
        x = self.add("Gemm", [x, "loss3/classifier_w_0", "loss3/classifier_b_0"], transB=1)
        self.add("Softmax", [x])

    def add(self, op, inputs, name=None, **attributes):
        attributes |= self.change.get(name, {})
        op = attributes.pop("op", op)
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
        x = self.add("Conv", inputs, layer, strides=strides, pads=pads)
        return self.add("Relu", [x], f"{layer}/relu")

    def halve(self, x, name):
        pads = [0, 0, 1, 1]
        return self.add("MaxPool", [x], name, kernel_shape=[3, 3], strides=[2, 2], pads=pads)

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
        value = onnx.helper.make_tensor_value_info
        image = value("data_0", onnx.TensorProto.FLOAT, [1, 3, 224, 224])
        answer = value(self.nodes[-1].output[0], onnx.TensorProto.FLOAT, [1, 6])
        graph = helper.make_graph(self.nodes, "googlenet", [image], [answer], self.tensors)
        opset = [helper.make_opsetid("", 12)]
        return helper.make_model(graph, ir_version=7, opset_imports=opset).SerializeToString()


@pytest.fixture
def source(network):
    torch.manual_seed(0)
    net = network("bvlc", 6, "model/aux=none")
    with torch.no_grad():
        for value in net.parameters():
            value.normal_(0, 0.05)
    return net


def test_loads_exactly(source, read, network):
    net = network("bvlc", 6, "model/aux=none")
    assert load_weights(net, read("a.onnx", Graph(source).data())) == []
    for name, value in net.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


@pytest.mark.parametrize(
    "change",
    [
        {"norm2": {"alpha": 2e-4}},
        {"pool2": {"pads": [1, 1, 0, 0]}},
        {"conv1/7x7_s2": {"pads": [2, 2, 4, 4]}},
        {"swap": "inception_5b"},
        {"inception_4c/1x1/relu": {"op": "Identity"}},
    ],
    ids=str,
)
def test_a_graph_that_computes_something_else_is_refused(source, read, change):
    with pytest.raises(
        ValueError, match=r"its logits differ from .* by \d\.\de[-+]\d+ of the larg"
    ):
        read("a.onnx", Graph(source, **change).data())


def test_a_graph_that_cannot_run_is_refused(source, read):
    with pytest.raises(ValueError, match=r"a.onnx: ONNX Runtime cannot run its graph"):
        read("a.onnx", Graph(source, pool2={"strides": [1, 1]}).data())


def test_tensors_that_differ_are_named_with_the_words_that_fit(source, read):
    graph = Graph(source)
    for tensor in graph.tensors:
        tensor.name = tensor.name.replace("inception_3a/1x1", "mine")
        if tensor.name == "conv2/3x3_w_0":
            tensor.CopyFrom(numpy_helper.from_array(torch.ones(192, 64, 5, 5).numpy(), tensor.name))
    with pytest.raises(ValueError, match="nothing was loaded") as refusal:
        read("a.onnx", graph.data())
    *lines, words = str(refusal.value).splitlines()[1:]
    assert lines == [
        "  missing in them (2): inception3a.conv1x1.conv.weight, inception3a.conv1x1.conv.bias",
        "  unknown here (2): mine.weight, mine.bias",
        "  different (1): conv2.conv.weight 192×64×5×5, here 192×64×3×3",
    ]
    expected = (
        r"the network they fit: model=googlenet_bvlc preprocess=bvlc model/aux=none model.pre"
    )
    assert re.match(expected, words)


def test_auxiliary_heads_are_not_in_it(source, read, network):
    weights = read("a.onnx", Graph(source).data())
    with pytest.raises(
        ValueError, match=r"missing in them \(16\): aux.inception4a.conv.conv.weight"
    ):
        load_weights(network("bvlc", 6), weights)
    net = network("bvlc", 3)
    assert load_weights(net, weights, num_classes=3) == ["new for 3 classes: aux, head"]


def test_a_file_by_its_published_name(source, configs, tmp_path, capsys):
    """Its preprocessing is known, and a missing digest is said."""
    from deeper.runs import warm_start

    path = tmp_path / "weights/googlenet-12.onnx"
    path.parent.mkdir()
    path.write_bytes(Graph(source).data())
    cfg = configs("model.pretrained=onnx", f"paths.cache={tmp_path}")
    assert warm_start.read_pretrained(cfg).preprocess["mean"] == [104.0, 117.0, 123.0]
    assert "not verified, no digest of onnx is known" in capsys.readouterr().out
    cfg = configs(f"model.pretrained={path}")
    assert warm_start.read_pretrained(cfg).preprocess is None
