"""The parts of src/eval.py: the config of an evaluation, its facts, and its files."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from deeper.config import signatures, stored
from deeper.data.datamodule import ImageData
from deeper.evaluation import tables
from deeper.evaluation.metrics import Metrics
from deeper.files import whole
from deeper.runs import directory, record

MAX_CONFUSION_CLASSES = 50
"""With more classes the JSON file names confusion.npy in place of the matrix."""


def trained_config(cfg: Any, state: dict[str, Any]) -> DictConfig:
    """The training's config, with this machine's hardware and paths, and the data of the command."""
    trained = state["deeper"]["config"]
    here = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(here, dict)  # noqa: S101
    data, cache = trained["data"], here["paths"]["cache"]
    data = data | {key: value for key, value in here["data"].items() if value is not None}
    # stage_to also where it is null: the training node's disk is not this node's.
    data |= {"cache": cache, "stage_to": here["data"]["stage_to"]}
    signatures.require_buildable({"data": data})
    config = trained | {key: here[key] for key in ("trainer", "precision", "paths")}
    bar = {"_target_": "deeper.callbacks.progress.ProgressBar"}
    config |= {"data": data, "callbacks": {"progress": bar}, "logger": {}, "averaging": {}}
    return stored.as_config(config | {"augment": {}, "compile": False})


def facts(
    cfg: Any, checkpoints: dict[Path, dict[str, Any]], data: ImageData, protocols: Iterable[str]
) -> dict[str, Any]:
    """What is evaluated, how, and on which images, for run.json."""
    weights = [
        cfg.weights.value if "averaged_state_dict" in state else "live"
        for state in checkpoints.values()
    ]
    paths = [str(path) for path in checkpoints]
    return {
        "checkpoint": paths[0] if len(paths) == 1 else paths,
        "weights": weights[0] if len(set(weights)) == 1 else weights,
        "split": cfg.split.value,
        "root": data.root,
        "limit": data.limit,
        "data": data.fingerprint(),
        "protocol": [*protocols],
        "fusion": cfg.fusion.value,
    }


def results(split: str, metrics: Metrics) -> dict[str, float]:
    """Under the names that a training uses; the loss is the negative log-likelihood."""
    n = metrics.n
    values = {
        "loss": metrics.nll,
        "top1": metrics.top1 / n,
        "top5": metrics.top5 / n,
        "n": float(n),
    }
    return {f"{split}/{name}": value for name, value in values.items()}


def save(
    content: dict[str, Any], metrics: Metrics, classes: list[str], run: Path, paths: Iterable[Path]
) -> None:
    """Write `<run>/<name>.json`, and a copy `eval/<name>.json` in the run of each checkpoint.

    `<name>` is that of the evaluation's directory; `content` is its run.json.
    """
    confusion = run / "confusion.npy"
    with whole(confusion) as path, path.open("wb") as array:
        np.save(array, metrics.confusion, allow_pickle=False)
    keys = (
        "checkpoint", "weights", "split", "root", "limit", "data", "protocol", "fusion", "results",
        "rows", "each", "real",
    )  # fmt: skip
    written = {key: content[key] for key in keys if key in content}
    written["classes"] = metrics.classes(classes)
    small = len(classes) <= MAX_CONFUSION_CLASSES
    written["confusion"] = metrics.confusion.tolist() if small else str(confusion)
    text, file = json.dumps(written, indent=2) + "\n", result_file(run)
    with whole(file) as path:
        path.write_text(text)
    print(f"written to {file}")
    for trained in dict.fromkeys(path.absolute().parent.parent for path in paths):
        if (trained / record.FILE).exists():
            _copy(trained, file.name, text, content["split"] == "test")


def result_file(run: Path) -> Path:
    return run / f"{directory.run_id(str(run))}.json"


def _copy(trained: Path, name: str, text: str, look: bool) -> None:
    """Also counts the look at the test set; a run that is not ours to write to is left alone."""
    try:
        if look:
            record.count_test_look(trained)
        copy = trained / "eval" / name
        copy.parent.mkdir(exist_ok=True)
        with whole(copy) as path:
            path.write_text(text)
        print(f"written to {copy}")
    except (OSError, ValueError) as error:
        print(f"{trained}: {getattr(error, 'strerror', error)}, so no copy is written there")


def show(content: dict[str, Any], metrics: Metrics, classes: list[str], file: str) -> None:
    """Tables on the screen."""
    paths, rows = content["checkpoint"], content["rows"]
    several = not isinstance(paths, str)
    title = f"{len(paths)} models, {rows[-1]['protocol']}" if several else paths
    tables.show_metrics(metrics, classes, content["split"], title, file)
    if len(rows) > 1:
        tables.show_table3(rows)
