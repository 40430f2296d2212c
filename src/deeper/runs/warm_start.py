"""Starts a training from published weights or from a checkpoint's, as `model.pretrained` says."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf
from torch import nn

from deeper import checkpoint
from deeper.config import stored
from deeper.config.groups import group_options
from deeper.config.instantiate import build, resolved
from deeper.data.classes import wnids
from deeper.models.preprocess import Preprocess
from deeper.models.pretrained import weights_file
from deeper.models.pretrained.layer_settings import layer_settings
from deeper.models.pretrained.published import PUBLISHED
from deeper.models.pretrained.weights import Weights, is_same_preprocessing, load_weights
from deeper.runs import build as run_parts
from deeper.runs import select
from deeper.training.module import ImageClassifier

MODEL_GROUPS = ("head", "aux", "norm", "block")
"""Groups of `model` that decide what a network computes."""


def start(cfg: Any, module: ImageClassifier) -> None:
    """Load the weights that `model.pretrained` names into the network of a new run, if it names some.

    Other classes than the weights' get a new classifier. Raises `ValueError` where the weights belong
    to another network or were trained with other preprocessing.
    """
    if not cfg.model.get("pretrained") or cfg.resume:
        return
    weights, classes = read(cfg), module.checkpoint_metadata["classes"]
    notes = [*_preprocessing_notes(weights, module.preprocess)]
    same_classes = _has_classes(weights, classes)
    notes += load_weights(module.net, weights, num_classes=None if same_classes else len(classes))
    if cfg.channels_last:
        module.net.to(memory_format=torch.channels_last)
    if same_classes and weights.note and cfg.model.get("aux"):
        notes.append(weights.note)
    rank_zero_only(print)("\n  ".join([f"weights of {weights.origin}", *notes]))


def initial_checkpoint(cfg: Any, classes: Sequence[str]) -> dict[str, Any]:
    """The checkpoint of a training that started from the weights and took no step."""
    module = run_parts.classifier(cfg, classes)
    start(cfg, module)
    return {"state_dict": module.state_dict(), "deeper": module.checkpoint_metadata}


def read(cfg: Any) -> Weights:
    """The weights that `model.pretrained` names: a published name, a file, or a run directory."""
    source = str(cfg.model.pretrained)
    if source not in PUBLISHED and Path(source).expanduser().is_dir():
        source = str(select.named(source))
    path = weights_file.locate(source, Path(cfg.paths.cache).expanduser() / "weights")
    return (
        _read_checkpoint(path, cfg) if path.suffix == ".ckpt" else weights_file.read(path, source)
    )


def _read_checkpoint(path: Path, cfg: Any) -> Weights:
    """A checkpoint's averaged weights, or its live ones where nothing was averaged."""
    state = stored.load_with_config(path)
    checkpoint.require_current_statistics(state, path, "averaged")
    config = stored.as_config(state["deeper"]["config"] | {"compile": False})
    classes = state["deeper"]["classes"]
    with torch.device("meta"):
        net = run_parts.network(config, classes)
    preprocess: nn.Module = build(config.preprocess)
    preprocess.load_state_dict(checkpoint.preprocess_state(state))
    return Weights(
        origin=str(path),
        state=checkpoint.network_state(state),
        layer_settings=layer_settings(net),
        overrides=" ".join([*_model_overrides(config, cfg), f"model.pretrained={path}"]),
        preprocess=preprocess,
        preprocess_known=True,
        classes=classes,
    )


def _has_classes(weights: Weights, classes: Sequence[str]) -> bool:
    """Whether the weights' logits are of these classes; 1000 without names are ImageNet's."""
    if weights.classes is not None:
        return [*weights.classes] == [*classes]
    number = weights.num_classes
    return number == len(classes) and (number != len(wnids()) or [*classes] == [*wnids()])


def _preprocessing_notes(weights: Weights, ours: nn.Module) -> Iterator[str]:
    """A note where the preprocessing differs from the usual one; `ValueError` where it must not differ."""
    theirs = weights.preprocess
    if not isinstance(theirs, Preprocess) or not isinstance(ours, Preprocess):
        return
    if is_same_preprocessing(theirs, ours):
        return
    needed, found = _preprocess_overrides(theirs), _preprocess_overrides(ours)
    if weights.preprocess_known:
        fits = weights.overrides if "preprocess=" in weights.overrides else needed
        raise ValueError(
            f"{weights.origin}: these weights need other preprocessing: {needed}, here {found}\n"
            f"what they fit: {fits}"
        )
    yield f"such weights are mostly trained with {needed}; this training has {found}"


def _preprocess_overrides(preprocess: Preprocess) -> str:
    mean, std = (
        ",".join(format(float(x), ".6g") for x in values.flatten())
        for values in (preprocess.mean, preprocess.std)
    )
    return (
        f"preprocess.mean=[{mean}] preprocess.std=[{std}] preprocess.scale={preprocess.scale:.10g} "
        f"preprocess.channels={preprocess.channels}"
    )


def _model_overrides(theirs: Any, ours: Any) -> Iterator[str]:
    """The words of the command line for the network of a checkpoint, where this one differs."""
    before, after = resolved(theirs.model), resolved(ours.model)
    for key, value in before.items():
        if key in ("init", "pretrained", "image_size") or after.get(key) == value:
            continue
        if key in MODEL_GROUPS:
            yield f"model/{key}={_option(key, value)}"
        elif not isinstance(value, dict):
            yield f"model.{key}={value}"


def _option(group: str, node: Any) -> str:
    """The option of model/`group` that composes to `node`."""
    for option in group_options()[f"model/{group}"]:
        composed = compose("train", [f"model/{group}={option}"]).model[group]
        if OmegaConf.to_container(composed, resolve=True) == node:
            return option
    return "<as in the checkpoint's config>"
