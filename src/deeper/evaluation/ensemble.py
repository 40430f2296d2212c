"""Evaluates any number of networks with any number of protocols; each pair runs once and is cached."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch

from deeper.config.instantiate import build, resolved
from deeper.data.datamodule import ImageData
from deeper.evaluation.cache import CachedProbabilities, averaged, files_digest
from deeper.evaluation.imagenet_real import real_counts, real_labels
from deeper.evaluation.metrics import Metrics, compute_metrics, difference_interval
from deeper.evaluation.protocol import CropProtocol, crop_count
from deeper.evaluation.runner import Evaluator
from deeper.files import file_digest
from deeper.inference.model import Trained
from deeper.runs.provenance import code_hash, own_packages
from deeper.runs.record import is_main_process


class EnsembleMember(NamedTuple):
    """One network by one protocol."""

    network: Trained
    name: str
    """Of the protocol."""
    protocol: CropProtocol
    """Built for the network's own input size."""
    cached: CachedProbabilities


class Ensemble:
    """Networks by `protocols` (name → config node) on one split of `data`.

    `cfg` is src/eval.py's, and `precision` the name of the number format.
    """

    def __init__(
        self,
        cfg: Any,
        networks: Sequence[Trained],
        protocols: Mapping[str, Any],
        data: ImageData,
        precision: str,
    ) -> None:
        self.cfg, self.data = cfg, data
        self.images = getattr(data.splits, cfg.split)
        self.real = real_labels(cfg.real, self.images, len(data.classes)) if cfg.real else None
        self.facts = {
            "checkpoints": {str(network.path): network.weights for network in networks},
            "split": cfg.split.value,
            "root": data.root,
            "limit": data.limit,
            "data": data.fingerprint(),
            "protocol": [*protocols],
            "fusion": cfg.fusion.value,
        }
        """What is evaluated, how, and on which images."""
        # With the network and the protocol, all that decides the probabilities, except the rounding
        # of batch sizes and hardware.
        shared = {key: self.facts[key] for key in ("split", "data", "fusion")} | {
            "root": str(Path(data.root).expanduser().absolute()),
            "files": files_digest(self.images),
            "precision": precision,
            "kernels": cfg.kernels,
            "code": code_hash(own_packages()),
            "torch": str(torch.__version__),
        }
        cache = Path(cfg.paths.cache).expanduser()
        self.members = []
        for network in networks:
            own = {"checkpoint": file_digest(network.path), "weights": network.weights}
            size, crop = network.image_size, network.eval_crop
            for name, node in protocols.items():
                crops = resolved(node) | {"image_size": size, "eval_crop": crop}
                cached = CachedProbabilities(cache, shared | own | {"protocol": crops})
                self.members.append(EnsembleMember(network, name, build(node)(size, crop), cached))

    def predict(self, trainer: L.Trainer) -> None:
        """Compute the probabilities that are not in the cache yet.

        Several processes go through all members, since the first process decides which are missing.
        """
        for network, _, protocol, cached in self.members:
            missing = not cached.exists()
            if missing and is_main_process():
                cached.prepare()
            if missing or trainer.world_size > 1:
                evaluator = Evaluator(
                    network, protocol, network.image_size, self.images, self.data, self.cfg.fusion,
                    cached.write, missing,
                )  # fmt: skip
                trainer.validate(evaluator, verbose=False)

    def report(self) -> tuple[dict[str, Any], Metrics]:
        """Facts, a row for each member and for all networks by each protocol, results; and metrics.

        Gains are over the first row; the results and the metrics are the last row's.
        """
        groups = [[member] for member in self.members]
        if len(self.facts["checkpoints"]) > 1:
            for name in self.facts["protocol"]:
                groups.append([member for member in self.members if member.name == name])
        rows, metrics = [], self._metrics(groups[0])
        base = metrics
        for group in groups:
            network, name, protocol, _ = group[0]
            metrics = self._metrics(group)
            row = {
                "models": len(group),
                "checkpoint": str(network.path) if len(group) == 1 else None,
                "protocol": name,
                "crops": crop_count(protocol),
            }
            gains = {
                "top1_gain_interval": difference_interval(base.right1, metrics.right1),
                "top5_gain_interval": difference_interval(base.right5, metrics.right5),
            }
            rows.append(row | metrics.counts() | gains)
        content = self.facts | {"results": metrics.results(self.facts["split"]), "rows": rows}
        if self.real is not None:
            content["real"] = real_counts(self.real, metrics.best)
        return content, metrics

    def _metrics(self, group: Sequence[EnsembleMember]) -> Metrics:
        """Metrics of the mean of these networks' probabilities."""
        return compute_metrics(averaged([m.cached.read() for m in group]), self.images.labels)
