"""The published files themselves: `pytest -m network`, with IMAGENET=<root> for their accuracy."""

import os
import re

import pytest
from entry import run_dirs, shell

from deeper.files import file_digest
from deeper.models.pretrained import published

pytestmark = pytest.mark.network

WORDS = {
    "torchvision": ["model=googlenet_torchvision", "preprocess=symmetric"],
    "bvlc": ["model=googlenet_bvlc", "preprocess=bvlc"],
    "onnx": ["model=googlenet_bvlc", "model/aux=none", "preprocess=bvlc", "model.pretrained=onnx"],
}
ACCURACY = {"torchvision": (69.778, 89.530), "bvlc": (68.7, 88.9), "onnx": (67.78, 88.34)}
"""Published top-1 and top-5 in per cent, one centre crop of 224 px."""
WITHIN = 1.0
"""Per cent; crops, decoding and resampling are this project's. BVLC squashes an image to a square."""


@pytest.mark.parametrize("name", published.PUBLISHED)
def test_is_the_file_that_was_published_and_loads_whole(name, tmp_path):
    made = shell(
        f"out={tmp_path}/a.ckpt", f"paths.cache={tmp_path}", *WORDS[name], script="convert"
    )
    assert made.returncode == 0, made.stderr
    assert "is left out" not in made.stdout
    (path,) = (tmp_path / "weights").iterdir()
    assert file_digest(path).startswith(published.PUBLISHED[name][1])
    assert name != "bvlc" or path.stat().st_size == 53_533_754


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
    assert ACCURACY[name] == pytest.approx((100 * top1, 100 * top5), abs=WITHIN)
