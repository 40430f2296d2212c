"""A trained network judged again, from nothing but its checkpoint."""

import json
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

from deeper import checkpoint, runs
from deeper.data.datamodule import ImageData
from deeper.reporting import results
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
    config = OmegaConf.create(state["deeper"]["config"])
    root = cfg.data.root
    for key, value in OmegaConf.to_container(cfg.data).items():  # type: ignore[union-attr]
        if value is not None:
            config.data[key] = value
    if root is not None and "root" in config.data.source:
        config.data.source.root = root
    config.trainer, config.precision = cfg.trainer, cfg.precision
    config.callbacks, config.logger, config.averaging = {}, {}, {}
    config.compile = False
    return config, state


def load_weights(module: ImageClassifier, state: dict[str, Any], weights: str) -> None:
    checkpoint.require_classes(state, module.carried["classes"])
    module.net.load_state_dict(checkpoint.network_state(state, weights))
    preprocess = {
        key.removeprefix("preprocess."): value
        for key, value in state["state_dict"].items()
        if key.startswith("preprocess.")
    }
    module.preprocess.load_state_dict(preprocess)


def evaluate(
    trainer: L.Trainer, module: ImageClassifier, data: ImageData, split: str
) -> dict[str, float]:
    """Metrics as <split>/top1 … over every image of the split once."""
    if split == "test":
        trainer.test(module, data, verbose=False)
    else:
        trainer.validate(module, data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def publish(record: dict[str, Any], path: Path, cfg: Any) -> None:
    """A table on the screen; the figures beside the run that they judge, where it is one."""
    if not runs.is_main_process():
        return
    results.show(record["results"], title=str(path))
    run = path.parent.parent
    if (run / runs.RECORD).exists():
        folder = run / "eval"
        folder.mkdir(exist_ok=True)
        name = f"{path.stem}-{cfg.weights}-{cfg.split}.json"
        content = {"checkpoint": str(path), "weights": cfg.weights, **record["results"]}
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
        print(f"written to {folder / name}")
