"""What the auxiliary heads do to the gradient of each stage."""

import json
from collections.abc import Mapping
from math import ceil, floor, log10, nan
from typing import Any

from torch.nn.utils import get_total_norm

from deeper.config.instantiate import build
from deeper.figures import stored
from deeper.figures.picture import Picture
from deeper.runs import build as builder

NETWORKS = ("recipe=paper", "recipe=paper model/init=truncated_normal", "recipe=baseline")
"""Words of the command line."""

MAIN, AUX, ALL = "main head alone", "auxiliary heads alone", "all heads"

Norms = Mapping[str, Mapping[str, float]]
"""Losses → stage → norm of the gradient of its parameters; 0 for a stage that has none of either."""


def draw(networks: Mapping[str, Norms]) -> Picture:
    """A panel for each network, its stages from the first to the last."""
    picture = Picture(1 + 3.5 * len(networks), 3.6)
    cells = picture.subplots(1, len(networks), squeeze=False).flat
    for axes, (title, norms) in zip(cells, networks.items(), strict=True):
        stages = [stage for stage, norm in norms[ALL].items() if norm]
        labels = [stage.removeprefix("inception") for stage in stages]
        for name, of_stage in norms.items():
            behind = (
                {"linewidth": 5, "alpha": 0.35, "zorder": 1, "marker": ""} if name == ALL else {}
            )
            values = [of_stage[stage] or nan for stage in stages]
            axes.plot(labels, values, label=name, **{"marker": "."} | behind)
        known = [norm for of_stage in norms.values() for norm in of_stage.values() if norm]
        axes.set_yscale("log")
        axes.set_ylim(10 ** floor(log10(min(known))), 10 ** ceil(log10(max(known))))
        axes.set_title(title, loc="left", fontsize=10)
        axes.tick_params(axis="x", rotation=90, labelsize=8)
    axes.legend(frameon=False, fontsize=8)
    picture.supylabel("norm of the gradient", fontsize=10)
    return picture


def measure(cfg: Any) -> Norms:
    """Of the initial network that a training config means, on its first batch."""
    data = builder.data(cfg)
    batch = next(iter(data.train_dataloader()))
    net: Any = builder.network(cfg, data.classes)
    losses = build(cfg.loss)(net(build(cfg.preprocess)(batch.images)), batch.labels)
    main, total = losses["loss_main"], losses["loss"]
    norms = {}
    for name, loss in {MAIN: main, AUX: total - main, ALL: total}.items():
        net.zero_grad()
        loss.backward(retain_graph=True)
        gradients = {
            stage: [p.grad for p in net.get_submodule(stage).parameters() if p.grad is not None]
            for stage in net.stages
        }
        norms[name] = {stage: float(get_total_norm(found)) for stage, found in gradients.items()}
    return norms


def committed() -> Picture:
    return draw(json.loads((stored.folder() / stored.GRADIENTS).read_text()))
