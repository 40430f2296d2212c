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
