"""A .caffemodel, written here in each generation of its format."""

import pytest
import torch
from protobuf import caffemodel, field, floats, varint
from torch import nn

from deeper.models.pretrained import caffe, names, nets
from deeper.models.pretrained.weights import load
from deeper.models.pretrained.wire import Message


@pytest.fixture(scope="module")
def source():
    """Of 6 classes, with other weights than a net is made with."""
    torch.manual_seed(0)
    net = nets.bvlc(6)
    with torch.no_grad():
        for value in net.parameters():
            value.normal_(0, 0.05)
    return net


def blobs_of(net):
    modules = {layer: net.get_submodule(ours) for layer, ours in names.BVLC.items()}
    assert len(modules) == 57 + 2 + 5
    return {layer: [module.weight, module.bias] for layer, module in modules.items()}


def read(data):
    return caffe.read(Message(memoryview(data)), "a.caffemodel")


@pytest.mark.parametrize("legacy", [False, True], ids=["V2", "V1"])
def test_loads_exactly(source, legacy):
    data = caffemodel(blobs_of(source), legacy=legacy)
    assert caffe.is_one(Message(memoryview(data)))
    net = nets.bvlc(6)
    assert load(net, read(data)) == []
    for name, value in net.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


def test_values_that_are_not_packed():
    values = torch.randn(5)
    one_by_one = b"".join(field(5, float(value)) for value in values)
    blob = one_by_one + field(7, field(1, 5))
    data = field(
        100,
        field(1, "loss3/classifier")
        + field(7, field(7, field(1, varint(1) + varint(5))) + field(5, floats(values)))
        + field(7, blob),
    )
    assert torch.equal(read(data).state["head.classifier.bias"], values)


def test_layers_by_their_number():
    """A map typed by hand: two ends and a middle of it, so that no layer is taken for its neighbour."""
    assert names.BVLC["conv2/3x3"] == "conv2.conv"
    assert names.BVLC["inception_4c/5x5_reduce"] == "inception4c.reduce5x5.conv"
    assert names.BVLC["loss1/fc"] == "aux.inception4a.fc"
    assert names.BVLC["loss2/classifier"] == "aux.inception4d.classifier"


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
            "of another shape (1): conv2.conv.weight 192×64×5×5, here 192×64×3×3",
        ),
    ],
    ids=["missing", "extra", "shape"],
)
def test_what_does_not_fit_is_listed_and_nothing_loads(source, spoil, line):
    blobs = blobs_of(source)
    spoil(blobs)
    net = nets.bvlc(6)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="nothing was loaded") as refusal:
        load(net, read(caffemodel(blobs, legacy=True)))
    assert str(refusal.value).splitlines()[1:] == [
        f"  {line}",
        "the network they fit: model=googlenet_bvlc preprocess=bvlc model.pretrained=a.caffemodel",
    ]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_the_batch_normalised_net_is_refused(source, build):
    net = build(6, image_size=224, norm="bn", aux="both")
    with pytest.raises(ValueError, match=r"missing in them \(295\): conv1.norm.weight") as refusal:
        load(net, read(caffemodel(blobs_of(source), legacy=True)))
    assert "of another kind (2): norm1, norm2: LRN of size 5" in str(refusal.value)


def test_cut_off_files_are_refused(source):
    data = caffemodel(blobs_of(source), legacy=False)
    for length in (3, 1000, len(data) - 1):
        with pytest.raises(ValueError, match="cut off"):
            read(data[:length])


def test_a_blob_of_another_size_than_it_says(source):
    blob = field(7, field(1, varint(7))) + field(5, floats(torch.ones(6)))
    data = field(100, field(1, "conv1/7x7_s2") + field(7, blob))
    with pytest.raises(ValueError, match=r"conv1/7x7_s2: a blob of shape \[7\] holds 6 values"):
        read(data)


def test_images_as_caffe_has_them():
    """Blue first, on 0..255, less BVLC's mean."""
    orange = torch.tensor([255, 128, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    assert nets.caffe()(orange).flatten().tolist() == [-104.0, 11.0, 132.0]


def test_every_layer_with_weights_is_named():
    with torch.device("meta"):
        net = nets.bvlc()
    layers = {n for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert set(names.BVLC.values()) == layers
