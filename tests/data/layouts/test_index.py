"""A million images: the time to list and open them, and their memory."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
from entry import PROJECT, command

from deeper.data.classes import wnids
from deeper.data.sources.imagenet import ImageNet

MEASURE = """
import json, os, sys, time
import numpy as np
from deeper.augment.crops import FixedCrop
from deeper.data.datamodule import ImageData
from deeper.data.sources.imagenet import ImageNet
from deeper.evaluation.protocol import Single

def held(kind):
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024

def child(work):
    '''MB of its own that a forked process has after `work`.'''
    ours, theirs = os.pipe()
    if os.fork() == 0:
        work()
        os.write(theirs, str(held("Private_Dirty")).encode())
        os._exit(0)
    os.wait()
    return float(os.read(ours, 99))

root, cache = sys.argv[1:]
source = ImageNet(root, cache)
options = dict(image_size=224, batch_size=256, augment={"crop": FixedCrop(224)}, protocol=Single)
module = ImageData(lambda root, cache: source, root=root, cache=cache, seed=0, holdout=0.01, **options)
before, start = held("Rss"), time.perf_counter()
splits = source.load()
opened = time.perf_counter() - start
module.setup()
module.fingerprint()
ready = time.perf_counter() - start - opened
train = module.splits.train
sampled = np.random.default_rng(0).integers(0, len(train), 10_000)

def work():
    for i in sampled:
        train.labels[i], train.images.name(train.indices[i])

grown = max(child(work) - child(lambda: None) for _ in range(4))
print(json.dumps(dict(images=len(splits.train), open_s=opened, setup_s=ready,
                      rss_mb=held("Rss") - before, worker_mb=grown)))
"""


def made(root: Path, images: int) -> Path:
    """`images` empty files over the classes of train/, and a 25th as many in val/, with an old mtime."""
    for label, wnid in enumerate(wnids()):
        train, val = root / "train" / wnid, root / "val" / wnid
        for folder in (train, val):
            folder.mkdir(parents=True)
        for number in range(label, images, 1000):
            os.close(os.open(f"{train}/{wnid}_{number}.JPEG", os.O_CREAT))
        for number in range(label, max(images // 25, 1000), 1000):
            os.close(os.open(f"{val}/ILSVRC2012_val_{number + 100:08}.JPEG", os.O_CREAT))
        for folder in (train, val):
            os.utime(folder, (1.7e9, 1.7e9))
    for folder in (root / "train", root / "val", root):
        os.utime(folder, (1.7e9, 1.7e9))
    return root


def measured(root: Path, cache: Path) -> dict[str, float]:
    """Listed in this process, which writes the index; opened with it and measured in a new one."""
    start = time.perf_counter()
    ImageNet(str(root), str(cache)).load()
    listed = time.perf_counter() - start
    result = command(
        sys.executable, "-c", MEASURE, str(root), str(cache), PYTHONPATH=str(PROJECT / "src")
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout) | {"list_s": listed}


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="counts Linux's pages")
@pytest.mark.parametrize("images", [10_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_an_index_opens_at_once(images, tmp_path):
    found = measured(made(tmp_path / "root", images), tmp_path / "cache")
    assert found["images"] == images
    assert found["open_s"] < 0.5
    assert found["rss_mb"] < 60
    assert found["worker_mb"] < 5


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="counts Linux's pages")
def test_the_cost_of_an_image_does_not_grow(tmp_path, capsys):
    """From 10⁴ images to ImageNet's 1,281,167."""
    rows = []
    for images in (10_000, 100_000, 1_281_167):
        root, cache = tmp_path / f"{images}/root", tmp_path / f"{images}/cache"
        found = measured(made(root, images), cache)
        shutil.rmtree(root)  # pytest would keep a million files
        index = sum(path.stat().st_size for path in cache.rglob("*.npz"))
        rows.append(found | {"index_mb": index / 1e6})
    heads = ("images", "list_s", "open_s", "setup_s", "rss_mb", "worker_mb", "index_mb")
    with capsys.disabled():
        print("\n" + "".join(f"{head:>11}" for head in heads))
        for row in rows:
            print("".join(f"{row[head]:>11,.{0 if head == 'images' else 2}f}" for head in heads))
    large = rows[-1]
    assert large["open_s"] + large["setup_s"] < 3
    assert large["rss_mb"] < 300
    assert large["worker_mb"] < 5
    for key in ("list_s", "setup_s"):
        assert large[key] / rows[1][key] < 2 * large["images"] / rows[1]["images"]
