"""The published files themselves: `pytest -m network`, with IMAGENET=<root> for their accuracy."""

import os
import re

import pytest
import torch
from entry import run_dirs, shell

from deeper.files import file_digest
from deeper.models.pretrained import nets, published, weights_file
from deeper.models.pretrained.weights import load_weights

pytestmark = pytest.mark.network

WORDS = {
    "torchvision": ["model=googlenet_torchvision", "preprocess=symmetric"],
    "bvlc": ["model=googlenet_bvlc", "preprocess=bvlc"],
    "onnx": ["model=googlenet_bvlc", "model/aux=none", "preprocess=bvlc", "model.pretrained=onnx"],
}
NETS = {
    "torchvision": nets.torchvision_net,
    "bvlc": nets.bvlc_net,
    "onnx": lambda: nets.bvlc_net(aux=False),
}
WITHIN = 1.0
"""Per cent; crops, decoding and resampling are this project's. BVLC squashes an image to a square."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.mark.parametrize("name", published.PUBLISHED)
def test_is_the_file_that_was_published_and_loads_whole(name, folder):
    path = published.download(name, folder)
    assert file_digest(path).startswith(published.PUBLISHED[name].sha256)
    assert name != "bvlc" or path.stat().st_size == 53_533_754
    net = NETS[name]().eval()
    assert load_weights(net, weights_file.read(path, name)) == []
    with torch.inference_mode():
        assert net(torch.zeros(1, 3, 224, 224)).logits.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", published.PUBLISHED)
def test_accuracy_is_the_published_one(name, tmp_path):
    root = os.environ.get("IMAGENET") or pytest.skip("set IMAGENET=<root of ILSVRC 2012>")
    file = str(tmp_path / f"{name}.ckpt")
    made = shell(f"out={file}", *WORDS[name], script="convert")
    assert made.returncode == 0, made.stderr
    words = [f"ckpt={file}", f"data.root={root}", f"paths.logs={tmp_path}"]
    judged = shell(*words, script="eval", OMP_NUM_THREADS=str(os.cpu_count()))
    assert judged.returncode == 0, judged.stderr
    (run,) = run_dirs(tmp_path)
    text = (run / "run.json").read_text()
    top1, top5 = (float(re.search(rf'"test/{k}": ([0-9.]+)', text)[1]) for k in ("top1", "top5"))
    wanted = published.PUBLISHED[name]
    assert abs(100 * top1 - wanted.top1) <= WITHIN
    assert abs(100 * top5 - wanted.top5) <= WITHIN
