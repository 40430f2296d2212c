"""Keeps what the pictures show of a trained network, with a copy of the run's record.

python src/train.py data.workers=0
python -m deeper.figures.store logs/train/runs/NAME     to results/default
"""

import json
import shutil
import sys
from typing import Any

import numpy as np
import torch

import deeper
from deeper.figures import gradients, saliency, stored
from deeper.reporting.keep import keep
from deeper.reporting.mistakes import images_of, worst
from deeper.reporting.runs import read_all
from deeper.runs import build

MISTAKES = 6


def store(run_directory: str) -> None:
    (run,) = read_all([run_directory])
    shutil.rmtree(stored.FOLDER / "runs", ignore_errors=True)
    keep([run], [], stored.FOLDER)
    kept, data = stored.FOLDER / "runs" / run.directory.resolve().name, run.config["data"]
    trained = deeper.load(run.directory)
    found: dict[str, Any] = {
        name: net.get_parameter("conv1.conv.weight").detach().numpy().astype(np.float16)
        for name, net in {
            "conv1": trained.net,
            "conv1_initial": build.network(trained.config, trained.classes),
        }.items()
    }
    images = images_of(run, data["root"], data["cache"])
    found["index"] = [mistake.index for mistake in worst([run], MISTAKES)]
    pixels = torch.stack([trained.view(images[index][0]) for index in found["index"]])
    for key in ("label", "predicted"):
        found[key] = (run.outcomes or {})[key][found["index"]].astype(int)
        found[f"{key}_map"] = saliency.heat_maps(trained, pixels, found[key]).astype(np.float16)
    np.savez_compressed(kept / stored.ARRAYS, **found)

    where = [f"data.root={data['root']}", f"paths.cache={data['cache']}", "data.workers=0"]
    norms = {
        words: gradients.measure(deeper.compose(*words.split(), *where))
        for words in gradients.NETWORKS
    }
    (kept / stored.GRADIENTS).write_text(json.dumps(norms, indent=1) + "\n")


if __name__ == "__main__":
    store(sys.argv[1])
