"""Trained networks judged again, from nothing but their checkpoints: one, or several as one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from deeper import checkpoint
from deeper.config import signatures
from deeper.config import stored as carried
from deeper.config import trusted as targets
from deeper.config.errors import ConfigError
from deeper.data.datamodule import ImageData
from deeper.evaluation import table3 as ensemble
from deeper.evaluation import tables as evaluation
from deeper.evaluation.metrics import Counts
from deeper.files import whole
from deeper.runs import directory as runs
from deeper.runs import record

IN_THE_JSON = 50
"""Classes up to which the confusion matrix stands there too."""


def trained_config(cfg: Any, state: dict[str, Any]) -> DictConfig:
    """The training's config on this machine's hardware and data, with what an evaluation needs of it."""
    stored = state["deeper"]["config"]
    here = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(here, dict)  # noqa: S101
    data, cache = stored["data"], here["paths"]["cache"]
    if data.get("cache") is not None:
        data = _moved(data, data["cache"], cache)
    if here["data"]["root"] is not None:
        data = _moved(data, data["root"], here["data"]["root"])
    data |= {key: value for key, value in here["data"].items() if value is not None}
    # Also where it is null: a disk of the node that trained is none of this one's.
    data |= {"cache": cache, "stage_to": here["data"]["stage_to"]}
    if problems := targets.refused({"data": data}) or signatures.problems({"data": data}):
        raise ConfigError(problems)
    config = stored | {key: here[key] for key in ("trainer", "precision", "paths")}
    bar = {"_target_": "deeper.callbacks.progress.ProgressBar"}
    config |= {"data": data, "callbacks": {"progress": bar}, "logger": {}, "averaging": {}}
    return carried.as_config(config | {"augment": {}, "compile": False})


def _moved(node: Any, old: Any, new: str) -> Any:
    """A source repeats the root of the data under a name of its own."""
    if isinstance(node, dict):
        return {key: _moved(value, old, new) for key, value in node.items()}
    return new if node == old else node


def require_judgeable(cfg: Any, states: dict[Path, dict[str, Any]], data: ImageData) -> None:
    """Refuse labels that mean something else, and images that a network chose or was trained on.

    Other images than the training's may be where they lay: they are told by their root.
    """
    if cfg.trainer.get("limit_val_batches") is not None:
        raise ValueError(
            "trainer.limit_val_batches: an evaluation counts every image; data.limit=N takes fewer"
        )
    first = next(iter(states))
    for path, state in states.items():
        try:
            checkpoint.require_classes(state, data.classes)
        except ValueError as error:
            raise ValueError(f"{path}: {error}" if len(states) > 1 else str(error)) from None
        theirs = state["deeper"]["config"]["data"]
        if data.root != theirs["root"]:
            continue
        if cfg.split == "test":
            data.require_test(theirs["val_from"])
        elif (theirs["val_from"], theirs["holdout"]) != (data.val_from, data.holdout):
            raise ValueError(
                f"{path}: trained with data.val_from={theirs['val_from']} "
                f"data.holdout={theirs['holdout']}, {first} with {data.val_from} and {data.holdout}: "
                f"one may have been trained on what the other held out; pass split=test, or "
                f"evaluate them one by one"
            )


def facts(
    cfg: Any, states: dict[Path, dict[str, Any]], data: ImageData, names: Sequence[str]
) -> dict[str, Any]:
    """What is judged, how, and on which images."""
    used = [
        "live" if "averaged_state_dict" not in s else cfg.weights.value for s in states.values()
    ]
    paths = [str(path) for path in states]
    return {
        "checkpoint": paths[0] if len(paths) == 1 else paths,
        "weights": used[0] if len(set(used)) == 1 else used,
        "split": cfg.split.value,
        "root": data.root,
        "limit": data.limit,
        "data": data.fingerprint(),
        "protocol": [*names],
        "fusion": cfg.fusion.value,
    }


def results(split: str, counts: Counts) -> dict[str, float]:
    """As a training names them. The loss is the negative log of the label's probability."""
    shares = {"top1": counts.top1 / counts.n, "top5": counts.top5 / counts.n}
    values = {"loss": counts.nll, **shares, "n": float(counts.n)}
    return {f"{split}/{name}": value for name, value in values.items()}


def publish(
    content: dict[str, Any], counts: Counts, classes: list[str], paths: Sequence[Path], here: Path
) -> None:
    """Tables on the screen; a file here, and one beside each run that was judged.

    Every evaluation has its own, named as the directory of the evaluation is.
    """
    title = (
        str(paths[0])
        if len(paths) == 1
        else f"{len(paths)} models, {content['rows'][-1]['protocol']}"
    )
    evaluation.show(counts, classes, content["split"], title)
    if len(content["rows"]) > 1:
        ensemble.show(content["rows"], "models × crops, errors in %; one model is the first")
    keys = (
        "checkpoint", "weights", "split", "root", "limit", "data", "protocol", "fusion", "results",
        "rows", "each",
    )  # fmt: skip
    written = {key: content[key] for key in keys}
    written |= {"real": content["real"]} if "real" in content else {}
    written["classes"] = counts.classes(classes)
    with whole(here / "confusion.npy") as path, path.open("wb") as array:
        np.save(array, counts.confusion, allow_pickle=False)
    small = len(classes) <= IN_THE_JSON
    written["confusion"] = counts.confusion.tolist() if small else str(here / "confusion.npy")
    text = json.dumps(written, indent=2) + "\n"
    with whole(here / "evaluation.json") as path:
        path.write_text(text)
    name = runs.run_id(str(here))
    for judged in dict.fromkeys(path.parent.parent for path in paths):
        if not (judged / record.FILE).exists():
            continue
        try:
            print(f"written to {_filed(judged, name, text, look=content['split'] == 'test')}")
        except OSError as error:  # somebody else's run, say: what was found is kept here
            print(f"{judged}: {error.strerror}, so not written there; written to {here}")


def _filed(run: Path, name: str, text: str, look: bool) -> Path:
    """Beside what else is known of a run, which counts the look at its test set."""
    if look:
        record.count_test_look(run)
    file = run / "eval" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    with whole(file) as path:
        path.write_text(text)
    return file
