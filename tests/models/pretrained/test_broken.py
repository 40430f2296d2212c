"""Files that were cut off or changed: a reader refuses them by name, whatever their bytes say."""

import io
import random

import pytest
import torch
from protobuf import caffemodel, field, floats, varint

from deeper.models.pretrained import names, published

ROUNDS = 120


def attribute(name, number, value):
    return field(5, field(1, name) + field(number, value))


def node(op, *inputs, attributes=b""):
    given = b"".join(field(1, name) for name in inputs)
    return field(1, given + field(2, f"{op}_out") + field(4, op) + attributes)


def tensor(name, values, *shape):
    return field(1, b"".join(map(varint, shape))) + field(2, 1) + field(8, name) + field(9, values)


def onnx_file(*nodes):
    weights = field(5, tensor("w", floats(torch.ones(6)), 2, 3))
    numbers = b"".join(n.to_bytes(8, "little") for n in (2, 3, 1, 1))
    sizes = field(5, field(1, varint(4)) + field(2, 7) + field(8, "s") + field(9, numbers))
    return field(7, b"".join(nodes) + weights + sizes)


def saved(content):
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


BLOBS = {layer: [torch.ones(2, 3, 1, 1), torch.ones(2)] for layer in list(names.BVLC)[:8]}
FILES = {
    "V1": caffemodel(BLOBS, legacy=True),
    "V2": caffemodel(BLOBS, legacy=False),
    "ONNX": onnx_file(
        node("Reshape", "w", "s"),
        node("ConstantOfShape", "s", attributes=attribute("value", 5, tensor("v", floats(torch.ones(1)), 1))),
        node("Conv", "image", "Reshape_out", attributes=attribute("strides", 8, varint(2) * 2)),
        node("Relu", "Conv_out"),
        node("LRN", "Relu_out", attributes=attribute("size", 3, 5)),
        node("Gemm", "LRN_out", "w"),
    ),
    "torchvision": saved({"inception3a.branch1.conv.weight": torch.ones(2), "fc.weight": torch.ones(2, 2)}),
}  # fmt: skip


def read(path):
    return published.weights(published.opened(path), path, str(path))


@pytest.mark.parametrize("kind", FILES)
def test_changed_bytes_are_read_or_refused(tmp_path, kind):
    path, whole = tmp_path / "weights", FILES[kind]
    path.write_bytes(whole)
    assert read(path).state
    chance = random.Random(0)
    refused = []
    for _ in range(ROUNDS):
        data = bytearray(whole)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        for _ in range(chance.choice((0, 1, 2, 5)) if data else 0):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            read(path)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > ROUNDS / 10
    assert all(message.startswith(f"{path}: ") for message in refused)


@pytest.mark.parametrize(
    "data",
    [
        onnx_file(node("Reshape", "w")),
        onnx_file(node("ConstantOfShape", "s", attributes=attribute("value", 4, "one"))),
        field(100, field(1, "conv1/7x7_s2") + field(7, field(5, b"abc"))),
        saved({"inception3a.branch1.conv.weight": "text"}),
        saved({7: torch.ones(1), "inception3a.branch1.conv.weight": torch.ones(1)}),
    ],
    ids=[
        "no shape",
        "text for a number",
        "three bytes",
        "text for a tensor",
        "a number for a name",
    ],
)
def test_what_only_looks_like_weights(tmp_path, data):
    path = tmp_path / "weights"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="weights: not whole, or of a form unknown here"):
        read(path)
