"""Starts a training from published weights or from a checkpoint's, as `model.pretrained` says."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

from deeper import checkpoint
from deeper.config import stored
from deeper.config.groups import group_options
from deeper.config.instantiate import resolved
from deeper.data.classes import wnids
from deeper.models.pretrained import onnx, published, weights_file
from deeper.models.pretrained.weights import Weights, layer_settings, load_weights
from deeper.runs import build, select
from deeper.training.module import ImageClassifier


def load_pretrained(cfg: Any, module: ImageClassifier) -> None:
    """Load the weights that `model.pretrained` names into the network of a new run, if it names some.

    Other classes than the weights' get a new classifier, and so do all where the weights' are not
    known. Raises `ValueError` where the weights belong to another network or need other preprocessing.
    """
    if not cfg.model.get("pretrained"):
        return
    weights, classes = read_pretrained(cfg), module.checkpoint_metadata["classes"]
    _require_preprocessing(weights, resolved(cfg.preprocess))
    new = None if [*weights.classes] == [*classes] else len(classes)
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
    """The weights that `model.pretrained` names: a published name, a file, or a run directory.

    A checkpoint's are its averaged weights, or its live ones where nothing was averaged.
    """
    source = str(cfg.model.pretrained)
    is_name = source in published.PUBLISHED
    if not is_name and Path(source).expanduser().is_dir():
        source = str(select.named(source))
    path = weights_file.locate(source, Path(cfg.paths.cache).expanduser() / "weights")
    if path.suffix == ".ckpt":
        content = stored.load_with_config(path)
        checkpoint.require_current_statistics(content, path, "averaged")
        state, classes = checkpoint.network_state(content), content["deeper"]["classes"]
        config = stored.as_config(content["deeper"]["config"] | {"compile": False})
        number, words, known = len(classes), [*_words(config, cfg)], True
    else:
        state, words = weights_file.read_weights(path)
        config = compose("train", [*words, "data.image_size=224"])
        number = len(state["head.classifier.weight"])
        classes = wnids() if number == len(wnids()) else ()
        known = is_name or published.is_published(path)
    with torch.device("meta"):
        net = build.network(config, [""] * number)
    weights = Weights(
        origin=source,
        state=state,
        layer_settings=layer_settings(net),
        words=" ".join([*words, f"model.pretrained={source}"]),
        preprocess=resolved(config.preprocess) if known else None,
        classes=classes,
    )
    if path.suffix == ".onnx":
        net.to_empty(device="cpu")
        load_weights(net, weights)
        onnx.require_same_logits(path, net.eval())
    return weights


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
    if theirs.preprocess != ours.preprocess:
        yield f"preprocess={_option('preprocess', theirs.preprocess)}"
    for key, value in theirs.model.items():
        if key in ("init", "pretrained", "image_size") or value == ours.model.get(key):
            continue
        if OmegaConf.is_config(value):
            yield f"model/{key}={_option(f'model/{key}', value)}"
        else:
            yield f"model.{key}={value}"


def _option(group: str, node: Any) -> str:
    """The option of a group that composes to `node`."""
    for option in group_options()[group]:
        composed = compose("train", [f"{group}={option}"])
        if OmegaConf.select(composed, group.replace("/", ".")) == node:
            return option
    return "<as in the checkpoint's config>"
