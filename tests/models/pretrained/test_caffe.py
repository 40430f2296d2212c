"""Reading a .caffemodel in each generation of its format."""

from struct import pack

import pytest
import torch
from caffemodel import caffemodel
from torch import nn

from deeper.models.pretrained import caffe, names
from deeper.models.pretrained.weights import load_weights


@pytest.fixture
def source(network):
    """A network of 6 classes with other weights than a new one has."""
    torch.manual_seed(0)
    net = network("bvlc", 6)
    with torch.no_grad():
        for value in net.parameters():
            value.normal_(0, 0.05)
    return net


def blobs_of(net):
    modules = {layer: net.get_submodule(ours) for layer, ours in names.BVLC.items()}
    assert len(modules) == 57 + 2 + 5
    return {layer: [module.weight, module.bias] for layer, module in modules.items()}


@pytest.mark.parametrize("legacy", [False, True], ids=["V2", "V1"])
def test_loads_exactly(source, network, read, legacy):
    net = network("bvlc", 6)
    weights = read("a.caffemodel", caffemodel(blobs_of(source), legacy=legacy))
    assert load_weights(net, weights) == []
    for name, value in net.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


def field(number, content):
    """A field of bytes, on the wire: (number << 3 | 2) as varint, length, content."""
    key = number << 3 | 2
    head = bytes([key]) if key < 128 else bytes([key & 127 | 128, key >> 7])
    return head + bytes([len(content)]) + content


def test_bytes_as_caffe_proto_has_them(tmp_path):
    """Field numbers by hand: a V2 layer with packed values and a V1 layer with single ones."""
    shape = field(1, bytes([2, 3]))
    weight = field(7, shape) + field(5, pack("<6f", *range(6)))
    layer = field(100, field(1, b"loss3/classifier") + field(7, weight))
    sizes = b"".join(bytes([number << 3, size]) for number, size in enumerate((1, 1, 1, 2), 1))
    bias = sizes + b"".join(bytes([5 << 3 | 5]) + pack("<f", value) for value in (7, 8))
    legacy = field(2, field(4, b"loss1/fc") + field(6, bias) + field(6, bias))
    (tmp_path / "a.caffemodel").write_bytes(field(1, b"net") + layer + legacy)
    state = caffe.read(tmp_path / "a.caffemodel")
    assert state["head.classifier.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert state["aux.inception4a.fc.weight"].tolist() == [[7, 8]]
    assert state["aux.inception4a.fc.bias"].tolist() == [7, 8]


def test_names_of_layers(network):
    """Entries of the table by hand, so that no layer is taken for its neighbour; and all have one."""
    assert names.BVLC["conv2/3x3"] == "conv2.conv"
    assert names.BVLC["inception_4c/5x5_reduce"] == "inception4c.reduce5x5.conv"
    assert names.BVLC["loss1/fc"] == "aux.inception4a.fc"
    assert names.BVLC["loss2/classifier"] == "aux.inception4d.classifier"
    with torch.device("meta"):
        net = network("bvlc", 1000)
    layers = {n for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert set(names.BVLC.values()) == layers


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (
            lambda blobs: blobs.pop("inception_4c/3x3"),
            "missing in them (2): inception4c.conv3x3.conv.weight, inception4c.conv3x3.conv.bias",
        ),
        (
            lambda blobs: blobs.update({"my/conv": [torch.ones(3)]}),
            "unknown here (1): my/conv.weight",
        ),
        (
            lambda blobs: blobs.update({"conv2/3x3": [torch.ones(192, 64, 5, 5), torch.ones(192)]}),
            "different (1): conv2.conv.weight 192×64×5×5, here 192×64×3×3",
        ),
    ],
    ids=["missing", "extra", "shape"],
)
def test_differences_are_listed_and_nothing_loads(source, network, read, spoil, line):
    blobs = blobs_of(source)
    spoil(blobs)
    net = network("bvlc", 6)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="nothing was loaded") as refusal:
        load_weights(net, read("a.caffemodel", caffemodel(blobs, legacy=True)))
    found, words = str(refusal.value).splitlines()[1:]
    assert found == f"  {line}"
    assert words.startswith("the network they fit: model=googlenet_bvlc preprocess=bvlc model.pre")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_the_batch_normalised_network_is_refused(source, network, read):
    weights = read("a.caffemodel", caffemodel(blobs_of(source), legacy=True))
    with pytest.raises(ValueError, match=r"missing in them \(354\): conv1.norm.weight") as refusal:
        load_weights(network("bvlc", 6, "model/norm=bn"), weights)
    assert "unknown here (61): conv1.conv.bias, " in str(refusal.value)
