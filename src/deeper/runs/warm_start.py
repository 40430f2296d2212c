"""Starts a training from published weights or from a checkpoint's, as `model.pretrained` says."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

from deeper import checkpoint
from deeper.config import experiments, stored
from deeper.config.instantiate import resolved
from deeper.data.classes import wnids
from deeper.models.pretrained import onnx, published, weights_file
from deeper.models.pretrained.weights import Weights, layer_settings, load_weights
from deeper.runs import build, select
from deeper.training.module import ImageClassifier

GROUPS = ("preprocess", "model/head", "model/aux", "model/norm", "model/block")
"""Groups that decide what a network computes."""


def load_pretrained(cfg: Any, module: ImageClassifier) -> None:
    """Load the weights that `model.pretrained` names into the network of a new run, if it names some.

    Other classes than the weights' get a new classifier. Raises `ValueError` where the weights belong
    to another network or were trained with other preprocessing.
    """
    if not cfg.model.get("pretrained") or cfg.resume:
        return
    weights, classes = read_pretrained(cfg), module.checkpoint_metadata["classes"]
    _require_preprocessing(weights, resolved(cfg.preprocess))
    new = None if _has_classes(weights, classes) else len(classes)
    left_out = load_weights(module.net, weights, num_classes=new)
    if cfg.channels_last:
        module.net.to(memory_format=torch.channels_last)
    rank_zero_only(print)("\n  ".join([f"weights of {weights.origin}", *left_out]))


def initial_checkpoint(cfg: Any, classes: Sequence[str]) -> dict[str, Any]:
    """The checkpoint of a training that started from the weights and took no step."""
    module = build.classifier(cfg, classes)
    load_pretrained(cfg, module)
    return {"state_dict": module.state_dict(), "deeper": module.checkpoint_metadata}


def read_pretrained(cfg: Any) -> Weights:
    """The weights that `model.pretrained` names: a published name, a file, or a run directory."""
    source = str(cfg.model.pretrained)
    is_name = source in published.PUBLISHED
    if not is_name and Path(source).expanduser().is_dir():
        source = str(select.named(source))
    path = weights_file.locate(source, Path(cfg.paths.cache).expanduser() / "weights")
    if path.suffix == ".ckpt":
        return _read_checkpoint(path, cfg)
    state, words = weights_file.read(path)
    config = compose("train", [*words, "data.image_size=224"])
    with torch.device("meta"):
        net = build.network(config, [""] * len(state["head.classifier.weight"]))
    known = is_name or published.is_published(path)
    weights = Weights(
        origin=source,
        state=state,
        layer_settings=layer_settings(net),
        words=" ".join([*words, f"model.pretrained={source}"]),
        preprocess=resolved(config.preprocess) if known else None,
    )
    if path.suffix == ".onnx":
        net.to_empty(device="cpu")
        load_weights(net, weights)
        onnx.require_same_logits(path, net.eval())
    return weights


def _read_checkpoint(path: Path, cfg: Any) -> Weights:
    """A checkpoint's averaged weights, or its live ones where nothing was averaged."""
    state = stored.load_with_config(path)
    checkpoint.require_current_statistics(state, path, "averaged")
    config = stored.as_config(state["deeper"]["config"] | {"compile": False})
    classes = state["deeper"]["classes"]
    with torch.device("meta"):
        net = build.network(config, classes)
    return Weights(
        origin=str(path),
        state=checkpoint.network_state(state),
        layer_settings=layer_settings(net),
        words=" ".join([*_words(config, cfg), f"model.pretrained={path}"]),
        preprocess=resolved(config.preprocess),
        classes=classes,
    )


def _has_classes(weights: Weights, classes: Sequence[str]) -> bool:
    """Whether the weights' logits are of these classes; 1000 without names are ImageNet's."""
    if weights.classes is not None:
        return [*weights.classes] == [*classes]
    number = len(weights.state["head.classifier.weight"])
    return number == len(classes) and (number != len(wnids()) or [*classes] == [*wnids()])


def _require_preprocessing(weights: Weights, ours: dict[str, Any]) -> None:
    """Classes of the user's own are not compared with those that published weights had."""
    theirs = weights.preprocess
    if theirs is not None and theirs["_target_"] == ours["_target_"] and theirs != ours:
        raise ValueError(
            f"{weights.origin}: these weights need other preprocessing: {theirs}, here {ours}\n"
            f"what they fit: {weights.words}"
        )


def _words(theirs: Any, ours: Any) -> Iterator[str]:
    """The words of the command line for the network of a checkpoint, where this one differs."""
    for group in GROUPS:
        before, after = (
            OmegaConf.select(config, group.replace("/", ".")) for config in (theirs, ours)
        )
        if before is not None and before != after:
            yield f"{group}={_option(group, before)}"
    for key, value in resolved(theirs.model).items():
        if key in ("pretrained", "image_size") or isinstance(value, dict):
            continue
        if value != ours.model.get(key):
            yield f"model.{key}={value}"


def _option(group: str, node: Any) -> str:
    """The option of a group that composes to `node`."""
    for option in experiments.options(group):
        composed = compose("train", [f"{group}={option}"])
        if OmegaConf.select(composed, group.replace("/", ".")) == node:
            return option
    return "<as in the checkpoint's config>"
