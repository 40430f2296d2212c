"""A trained network judged again, from nothing but its checkpoint."""

import json
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

from deeper import checkpoint, record, runs
from deeper.data.datamodule import ImageData
from deeper.reporting.table import show
from deeper.training.module import ImageClassifier


def checkpoint_path(cfg: Any) -> Path:
    """What `run=` or `ckpt=` names; exactly one of them must."""
    if (cfg.run is None) == (cfg.ckpt is None):
        raise ValueError(
            "say which network: run=<run directory> for its best checkpoint, or ckpt=<file>"
        )
    if cfg.ckpt is not None:
        return Path(cfg.ckpt).expanduser()
    return runs.checkpoint(runs.find(cfg.run), runs.BEST)


def trained_config(cfg: Any, path: Path) -> tuple[DictConfig, dict[str, Any]]:
    """The training's config on this machine's hardware and data, and the checkpoint."""
    state = checkpoint.load(path)
    stored = state["deeper"]["config"]
    here = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(here, dict)  # noqa: S101
    data = _moved(stored["data"], stored["data"]["cache"], here["paths"]["cache"])
    if here["data"]["root"] is not None:
        data = _moved(data, data["root"], here["data"]["root"])
    data |= {key: value for key, value in here["data"].items() if value is not None}
    # Also where it is null: a disk of the node that trained is none of this one's.
    data["stage_to"] = here["data"]["stage_to"]
    config = stored | {key: here[key] for key in ("trainer", "precision", "paths")}
    config |= {"data": data, "callbacks": {}, "logger": {}, "averaging": {}, "compile": False}
    return OmegaConf.create(config), state


def require_unseen(cfg: Any, state: dict[str, Any], data: ImageData) -> None:
    """A test on the images that chose the checkpoint is none; other images may be where they lay."""
    if cfg.split == "test" and data.root == state["deeper"]["config"]["data"]["root"]:
        data.require_test()


def _moved(node: Any, old: Any, new: str) -> Any:
    """A source repeats the root of the data under a name of its own."""
    if isinstance(node, dict):
        return {key: _moved(value, old, new) for key, value in node.items()}
    return new if node == old else node


def load_weights(module: ImageClassifier, state: dict[str, Any], weights: str) -> str:
    """Which weights the network has now: averaged only where the training kept an average."""
    checkpoint.require_classes(state, module.carried["classes"])
    module.net.load_state_dict(checkpoint.network_state(state, weights))
    module.preprocess.load_state_dict(checkpoint.preprocess_state(state))
    return weights if "averaged_state_dict" in state else "live"


def facts(cfg: Any, path: Path, weights: str, data: ImageData) -> dict[str, Any]:
    """What was judged, and on which images."""
    return {
        "checkpoint": str(path),
        "weights": weights,
        "split": cfg.split.value,
        "root": data.root,
        "limit": data.limit,
        "data": data.fingerprint(),
    }


def evaluate(
    trainer: L.Trainer, module: ImageClassifier, data: ImageData, split: str
) -> dict[str, float]:
    """Metrics as <split>/top1 … over every image of the split once."""
    if split == "test":
        trainer.test(module, data, verbose=False)
    else:
        trainer.validate(module, data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def publish(content: dict[str, Any], path: Path, here: Path) -> None:
    """A table on the screen; a file beside the run that was judged, where it is one.

    Every evaluation has its own, named as the directory of the evaluation is.
    """
    if not record.is_main_process():
        return
    show(content["results"], title=str(path))
    judged = path.parent.parent
    if not (judged / record.FILE).exists():
        return
    if content["split"] == "test":
        record.count_test_look(judged)
    file = judged / "eval" / f"{runs.run_id(str(here))}.json"
    file.parent.mkdir(exist_ok=True)
    keys = ("checkpoint", "weights", "split", "root", "limit", "data", "results")
    file.write_text(json.dumps({key: content[key] for key in keys}, indent=2) + "\n")
    print(f"written to {file}")
