"""Networks by their options' names, and weights as a training reads them."""

import pytest

from deeper.config.instantiate import build
from deeper.runs import warm_start


@pytest.fixture
def network(configs):
    """`network("bvlc", 6)` is model=googlenet_bvlc at 224 px for 6 classes."""

    def made(name, classes, *words):
        cfg = configs(f"model=googlenet_{name}", "data.image_size=224", *words)
        return build(cfg.model, num_classes=classes)

    return made


@pytest.fixture
def read(configs, tmp_path):
    """`read("a.onnx", data)`: the weights in a file of this name and these bytes."""

    def made(name, data):
        path = tmp_path / name
        path.write_bytes(data)
        return warm_start.read_pretrained(configs(f"model.pretrained={path}"))

    return made
