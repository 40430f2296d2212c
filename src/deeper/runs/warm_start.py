"""`model.pretrained`: the weights that a training starts from, published ones or a checkpoint's.

A checkpoint of published weights as they are, for src/eval.py and the like; the words are train.py's:

    PYTHONPATH=src python -m deeper.runs.warm_start OUT.ckpt model=googlenet_torchvision preprocess=symmetric
    python src/eval.py ckpt=OUT.ckpt data.root=<ImageNet>
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

from deeper import checkpoint
from deeper.cli import messages, resolvers
from deeper.config import experiments, schema, signatures
from deeper.config import stored as carried
from deeper.config.errors import ConfigError
from deeper.config.instantiate import build, resolved
from deeper.data.classes import wnids
from deeper.models.preprocess import Preprocess
from deeper.models.pretrained import published
from deeper.models.pretrained.layers import layers
from deeper.models.pretrained.weights import Weights, load, same_preprocessing
from deeper.runs import build as assemble
from deeper.runs import directory as runs
from deeper.training.module import ImageClassifier

PARTS = ("head", "aux", "norm", "block")
"""Groups of `model` that decide what a network computes."""


@dataclass(frozen=True)
class Source:
    weights: Weights
    classes: Sequence[str] | None
    """None where the file does not name them."""

    def has_classes(self, classes: Sequence[str]) -> bool:
        """Whether its answers are about these; 1000 classes without names are ImageNet's."""
        if self.classes is not None:
            return [*self.classes] == [*classes]
        number = self.weights.num_classes
        return number == len(classes) and (number != len(wnids()) or [*classes] == [*wnids()])


def start(cfg: Any, module: ImageClassifier) -> None:
    """Put the weights in, where `model.pretrained` names some and the run is a new one.

    Other classes than the weights' get a new classifier. Raises `ValueError` where the network or
    the preprocessing is not the one that the weights were made with.
    """
    if not cfg.model.get("pretrained") or cfg.resume:
        return
    source = read(cfg)
    weights, classes = source.weights, module.carried["classes"]
    notes = list(_preprocessing(weights, module.preprocess))
    known = source.has_classes(classes)
    notes += load(module.net, weights, num_classes=None if known else len(classes))
    if cfg.channels_last:
        module.net.to(memory_format=torch.channels_last)
    if known and weights.note and cfg.model.get("aux"):
        notes.append(weights.note)
    rank_zero_only(print)("\n  ".join([f"weights of {weights.origin}", *notes]))


def read(cfg: Any) -> Source:
    """What `model.pretrained` names; a published file is kept in `paths.cache`."""
    name = str(cfg.model.pretrained)
    if name not in published.PUBLISHED and Path(name).expanduser().is_dir():
        name = str(runs.checkpoint(runs.find(name), runs.BEST))
    path = published.path_of(name, Path(cfg.paths.cache) / "weights")
    content = published.opened(path)
    if isinstance(content, dict) and "deeper" in content:
        return _trained(cfg, path)
    return Source(published.weights(content, path, name), None)


def _trained(cfg: Any, path: Path) -> Source:
    """A checkpoint of this project: its averaged weights, where it has some."""
    state = carried.load(path)
    classes = state["deeper"]["classes"]
    config = carried.as_config(state["deeper"]["config"] | {"compile": False})
    with torch.device("meta"):
        made_for = layers(assemble.network(config, classes))
    preprocess = build(config.preprocess)
    preprocess.load_state_dict(checkpoint.preprocess_state(state))
    words = " ".join([*_words(config, cfg), f"model.pretrained={path}"])
    found = Weights(
        str(path), checkpoint.network_state(state), made_for, words, preprocess, published=True
    )
    return Source(found, classes)


def _preprocessing(weights: Weights, here: Any) -> Iterator[str]:
    """A note where the weights' own preprocessing is not certain; refused where it is and differs."""
    wanted = weights.preprocess
    if not isinstance(wanted, Preprocess) or not isinstance(here, Preprocess):
        return
    if same_preprocessing(wanted, here):
        return
    needed, found = _spelled(wanted), _spelled(here)
    if weights.published:
        raise ValueError(
            f"{weights.origin}: these weights want other preprocessing than preprocess.*: {needed}, "
            f"here {found}\nwhat they fit: {_said(weights, needed)}"
        )
    yield f"such weights are mostly made with {needed}; this training has {found}"


def _said(weights: Weights, needed: str) -> str:
    return weights.words if "preprocess=" in weights.words else needed


def _spelled(preprocess: Preprocess) -> str:
    mean, std = (
        ",".join(format(float(x), ".6g") for x in values.flatten())
        for values in (preprocess.mean, preprocess.std)
    )
    return (
        f"preprocess.mean=[{mean}] preprocess.std=[{std}] preprocess.scale={preprocess.scale:.10g} "
        f"preprocess.channels={preprocess.channels}"
    )


def _words(theirs: Any, ours: Any) -> Iterator[str]:
    """What to put on the command line for the network of another config, where this one differs."""
    before, after = resolved(theirs.model), resolved(ours.model)
    for key, value in before.items():
        if key in ("init", "pretrained", "image_size") or after.get(key) == value:
            continue
        if key in PARTS:
            yield f"model/{key}={_option(key, value)}"
        elif not isinstance(value, dict):
            yield f"model.{key}={value}"


def _option(group: str, node: Any) -> str:
    """The option of a group that has these values."""
    if GlobalHydra.instance().is_initialized():
        for option in experiments.options(f"model/{group}"):
            made = experiments.composed([f"model/{group}={option}"]).model[group]
            if OmegaConf.to_container(made, resolve=True) == node:
                return option
    return "<as in the checkpoint's config>"


def as_checkpoint(cfg: Any, classes: Sequence[str]) -> dict[str, Any]:
    """What a training would have left that began with the weights and took no step."""
    module = assemble.classifier(cfg, classes)
    start(cfg, module)
    return {"state_dict": module.state_dict(), "deeper": module.carried}


def main(out: str, *words: str) -> None:
    """Write the checkpoint of ImageNet's classes that train.py's `words` describe."""
    schema.register()
    resolvers.register()
    with initialize_config_dir(str(resolvers.PROJECT / "configs"), version_base="1.3"):
        cfg = compose("train", ["data=imagenet", "data.root=unset", f"paths.run={out}", *words])
        if lines := signatures.problems(resolved(cfg)):
            raise ConfigError(lines)
        checkpoint.save(as_checkpoint(cfg, wnids()), Path(out))
    print(f"written to {out}; evaluate it with: python src/eval.py ckpt={out} data.root=<ImageNet>")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except Exception as error:
        said = str(error) if isinstance(error, ValueError) else messages.mistake(error)
        if said is None:
            raise
        print(said, file=sys.stderr)
        sys.exit(2)
