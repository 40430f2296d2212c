"""Run directories as trainings leave them, with outcomes that are drawn, for tests of reports."""

import json
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = [f"n{i:08}" for i in range(10)]
IMAGES = 400
SETTINGS: dict[str, Any] = {
    "paths": {"logs": "/home/me/logs"},
    "data": {"root": "/home/me/photos", "image_size": 80, "cache": "/home/me/cache", "source": {}},
    "trainer": {"max_epochs": 3, "default_root_dir": "/home/me/logs/x"},
    "optimizer": {"lr": 0.1},
    "callbacks": {"checkpoint": {"folder": "/home/me/logs/x/checkpoints"}},
}
CLAIM = {
    "direction": "lower",
    "size": 0.005,
    "margin": None,
    "says": r"it helps for $5 or $\foo$",
    "metric": "test/top1",
}


def write_run(store: Path, arm: str, seed: int, accuracy: float = 0.8, **changes: Any) -> Path:
    """A run of the experiments `arm`, joined by +; `changes` replace keys of its run.json.

    Images are of different difficulty, the same one for all runs.
    """
    folder = store / f"{arm}-{seed}"
    folder.mkdir(parents=True)
    difficulty = np.random.default_rng(0).random(IMAGES)
    random = np.random.default_rng([seed, sum(map(ord, arm))])
    right = 0.7 * difficulty + 0.3 * random.random(IMAGES) < accuracy
    label = np.arange(IMAGES) % len(CLASSES)
    predicted = np.where(right, label, (label + 1) % len(CLASSES))
    np.savez_compressed(
        folder / "test_outcomes.npz",
        label=label.astype(np.uint16),
        predicted=predicted.astype(np.uint16),
        rank=(~right).astype(np.uint8),
        nll=np.where(right, 0.1, 2 + difficulty).astype(np.float16),
        classes=np.array(CLASSES),
    )
    rows = [{"step": 9 * e, "epoch": e, "val/top1": accuracy * e / 3} for e in range(4)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    experiments = arm.split("+")
    record = {
        "status": "finished", "experiments": experiments, "seed": seed, "recipe": "baseline",
        "cell": "c1", "identity": folder.name, "data": "d1", "code": "s1", "commit": "abc",
        "started": f"2026-01-0{1 + seed % 9}T00:00:00+00:00", "seconds": 60.0, "test_looks": 1,
        "starts": ["2026-01-01T00:00:00+00:00"],
        "command": ["train.py", "data.root=/home/me/photos", f"seed={seed}"],
        "overrides": [f"experiment={experiments}", f"seed={seed}", "data.root=/home/me/photos"],
        "classes": len(CLASSES), "objective": accuracy,
        "results": {"test/top1": float(right.mean()), "test/top5": 1.0, "test/n": float(IMAGES),
                    "test/loss": 0.5, "val/top1": accuracy},
        "config": SETTINGS | {"claim": None if arm == "baseline" else CLAIM},
        "costs": {"parameters_training": 2_000_000, "parameters_inference": 1_000_000,
                  "macs_training": 3_000_000, "macs_inference": 2_500_000},
        "hardware": {"processor": "a processor", "gpus": []}, "versions": {"torch": "2.14"},
        "precision": {"asked": "bf16", "used": "bf16"}, "images": {"total": 1000},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record | changes))
    return folder
