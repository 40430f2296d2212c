"""What only real photos can show. Each test says where it looks for them."""

import json
import math
import os
from pathlib import Path

import pytest
from entry import PROJECT, rows, run_dirs, shell

IMAGENETTE = Path(os.environ.get("IMAGENETTE", PROJECT / "data" / "imagenette"))


@pytest.fixture
def imagenette() -> Path:
    for root in (IMAGENETTE, IMAGENETTE / "imagenette2-160"):
        if (root / "train").is_dir():
            return root
    pytest.skip(f"no Imagenette under {IMAGENETTE}; set IMAGENETTE=<folder with train/ and val/>")


@pytest.mark.slow
def test_the_net_of_2014_comes_to_life(imagenette, tmp_path):
    """At 224 px, with LRN, BVLC's initial weights and both auxiliary heads, within 100 steps.

    A net whose signal dies stays at 1.6 · ln 10 = 3.68: main loss and two auxiliary ones at 0.3.
    """
    words = ["recipe=paper", "data=imagenette", "data.image_size=224", f"data.root={imagenette}"]
    words += ["epochs=1", "trainer.limit_train_batches=100", "trainer.limit_val_batches=0"]
    words += ["trainer.log_every_n_steps=1", "test=false", "precision=fp32"]
    result = shell(*words, f"paths.logs={tmp_path}", OMP_NUM_THREADS=str(os.cpu_count()))
    assert result.returncode == 0, result.stderr
    (run,) = run_dirs(tmp_path)
    losses = [row["train/loss"] for row in rows(run) if "train/loss" in row]
    assert len(losses) == 100
    assert sum(losses[-10:]) / 10 < 1.6 * math.log(10), json.dumps(losses)


@pytest.mark.slow
def test_imagenet_photos_are_packed_and_trained_on(tmp_path):
    """The two commands of the README, on one photo a class, so both splits hold the same."""
    photos = Path(os.environ.get("IMAGENET_PHOTOS", "/nonexistent")) / "train"
    if not photos.is_dir():
        pytest.skip("no photos; set IMAGENET_PHOTOS=<folder with train/<wnid>/*.JPEG>")
    root, out = tmp_path / "root", tmp_path / "packed"
    root.mkdir()
    for split in ("train", "val"):
        (root / split).symlink_to(photos)
    cache = f"paths.cache={tmp_path / 'cache'}"
    words = [f"data.root={root}", "pack=true", f"out={out}", cache]
    prepared = shell(*words, script="prepare")
    assert prepared.returncode == 0, prepared.stderr
    classes = len([*photos.iterdir()])
    words = ["recipe=paper", "data=imagenet", f"data.source.num_classes={classes}"]
    words += [f"data.root={out}", "data.val_from=official", "test=false", "epochs=6", cache]
    words += ["precision=fp32", "trainer.limit_val_batches=0", "trainer.log_every_n_steps=5"]
    result = shell(*words, f"paths.logs={tmp_path}", OMP_NUM_THREADS=str(os.cpu_count()))
    assert result.returncode == 0, result.stderr
    (run,) = run_dirs(tmp_path)
    losses = [row["train/loss"] for row in rows(run) if "train/loss" in row]
    assert len(losses) >= 10  # 50 steps
    assert losses[-1] < losses[0]
