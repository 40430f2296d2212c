"""Damaged files of weights: a reader refuses them by name, whatever their bytes say."""

import random
import sys

import pytest
import torch
from caffemodel import caffemodel

from deeper.models.pretrained import names, weights_file

onnx = pytest.importorskip("onnx")
ROUNDS = 120


def onnx_graph(*tensors):
    tensors = [onnx.numpy_helper.from_array(torch.ones(2, 3).numpy(), name) for name in tensors]
    graph = onnx.helper.make_graph([], "net", [], [], tensors)
    return onnx.helper.make_model(graph).SerializeToString()


def saved(content, path):
    torch.save(content, path)
    return path.read_bytes()


@pytest.fixture
def files(tmp_path):
    """Name → bytes of a small file that is read."""
    layers = ["loss3/classifier", *list(names.BVLC)[:8]]
    blobs = {layer: [torch.ones(2, 3, 1, 1), torch.ones(2)] for layer in layers}
    state = {"inception3a.branch1.conv.weight": torch.ones(2), "fc.weight": torch.ones(2, 2)}
    return {
        "v1.caffemodel": caffemodel(blobs, legacy=True),
        "v2.caffemodel": caffemodel(blobs, legacy=False),
        "zoo.onnx": onnx_graph("loss3/classifier_w_0", "loss3/classifier_b_0", "conv1/7x7_s2_b_0"),
        "theirs.pth": saved(state, tmp_path / "state"),
    }


@pytest.mark.parametrize("name", ["v1.caffemodel", "v2.caffemodel", "zoo.onnx", "theirs.pth"])
def test_changed_bytes_are_read_or_refused(tmp_path, files, name):
    path, whole = tmp_path / name, files[name]
    path.write_bytes(whole)
    assert weights_file.read_weights(path)[0]
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
            weights_file.read_weights(path)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > ROUNDS / 10
    assert all(message.startswith(f"{path}: cannot be read (") for message in refused)


def test_files_that_only_look_like_weights(tmp_path):
    key = "inception3a.branch1.conv.weight"
    for name, data in {
        "no weights.onnx": onnx_graph("shape"),
        "no classifier.onnx": onnx_graph("conv1/7x7_s2_w_0"),
        "page.caffemodel": b"<html>not found</html>",
        "page.onnx": b"<html>not found</html>",
        "empty.caffemodel": b"",
        "text.pth": saved({key: "text"}, tmp_path / "a"),
        "number for a name.pth": saved({7: torch.ones(1), key: torch.ones(1)}, tmp_path / "b"),
        "list.pth": saved([torch.ones(1)], tmp_path / "c"),
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ValueError, match="cannot be read") as refusal:
            weights_file.read_weights(path)
        assert str(refusal.value).startswith(f"{path}: cannot be read (")


def test_onnx_without_its_package(tmp_path, files, monkeypatch):
    (tmp_path / "zoo.onnx").write_bytes(files["zoo.onnx"])
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=r"onnx.*which needs pip install -e '\.\[export\]'"):
        weights_file.read_weights(tmp_path / "zoo.onnx")
