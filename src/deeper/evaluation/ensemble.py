"""Evaluates any number of networks with any number of protocols; each pair runs once and is cached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from deeper.config import stored
from deeper.config.instantiate import build, resolved
from deeper.data.datamodule import ImageData
from deeper.evaluation.cache import (
    CachedProbabilities,
    averaged,
    files_digest,
    require_writable,
)
from deeper.evaluation.metrics import Metrics, compute_metrics, difference_interval
from deeper.evaluation.protocol import CropProtocol, crop_count
from deeper.evaluation.runner import Evaluator, Fusion
from deeper.files import file_digest
from deeper.inference import model
from deeper.models.deployed import Deployed
from deeper.runs.provenance import code_hash
from deeper.runs.record import is_main_process


@dataclass(frozen=True)
class Settings:
    """What is the same for all networks of an evaluation."""

    split: str
    fusion: Fusion
    weights: str
    """averaged or live"""
    precision: str
    cache: Path


class Ensemble:
    """Networks from `checkpoints` (path → content) by `protocols` (name → config node) on one split."""

    def __init__(
        self,
        checkpoints: Mapping[Path, dict[str, Any]],
        protocols: Mapping[str, Any],
        data: ImageData,
        settings: Settings,
    ) -> None:
        self.checkpoints, self.data, self.settings = checkpoints, data, settings
        self.images = getattr(data.splits, settings.split)
        self.labels = self.images.labels
        self.paths = [*checkpoints]
        self.protocols = {name: resolved(node) for name, node in protocols.items()}
        shared = self._shared_key()
        self.cached: dict[tuple[Path, str], CachedProbabilities] = {}
        for path in checkpoints:
            network = shared | self._network_key(path)
            for name, protocol in self.protocols.items():
                key = network | {"protocol": protocol | self._input(path)}
                self.cached[path, name] = CachedProbabilities(settings.cache, key)

    def run(self, trainer: L.Trainer) -> None:
        """Compute the probabilities that are not in the cache yet.

        All processes go through all pairs, since the first process decides which ones are missing.
        """
        missing = [pair for pair in self.cached if not self._exists(*pair)]
        if missing and is_main_process():
            require_writable(self.settings.cache)
        for path, name in missing if trainer.world_size == 1 else self.cached:
            trainer.validate(self._evaluator(path, name), verbose=False)

    def metrics(self, paths: Sequence[Path], protocol: str) -> Metrics:
        """Metrics of the mean of these networks' probabilities."""
        models = [self.cached[path, protocol].read(self.labels) for path in paths]
        return compute_metrics(averaged(models), self.labels)

    def report(self) -> tuple[dict[str, Any], Metrics]:
        """Table rows, the rows of each network alone, and the metrics of all with the last protocol."""
        names = [*self.protocols]
        base = self.metrics(self.paths[:1], names[0])
        alone = {path: [self._row([path], name, base) for name in names] for path in self.paths}
        each = [{"checkpoint": str(path)} | row for path in self.paths for row in alone[path]]
        rows = [{"models": 1} | row for row in alone[self.paths[0]]]
        if len(self.paths) > 1:
            together = [self._row(self.paths, name, base) for name in names]
            rows += [{"models": len(self.paths)} | row for row in together]
        return {"rows": rows, "each": each}, self.metrics(self.paths, names[-1])

    def protocol(self, path: Path, name: str) -> CropProtocol:
        size, crop = self._input(path).values()
        protocol: CropProtocol = build(self.protocols[name])(size, crop)
        return protocol

    def _exists(self, path: Path, name: str) -> bool:
        return self.cached[path, name].exists(self.labels)

    def _evaluator(self, path: Path, name: str) -> Evaluator:
        def save(probabilities: Tensor) -> None:
            self.cached[path, name].write(probabilities.numpy(), self.labels)

        network = model.from_checkpoint(self.checkpoints[path], path, self.settings.weights)
        return Evaluator(
            Deployed(network.preprocess, network.net).eval(),
            self.protocol(path, name),
            network.image_size,
            self.images,
            self.data,
            self.settings.fusion,
            save,
            needed=lambda: not self._exists(path, name),
        )

    def _row(self, paths: list[Path], name: str, base: Metrics) -> dict[str, Any]:
        metrics = self.metrics(paths, name)
        row = {"protocol": name, "crops": crop_count(self.protocol(paths[0], name))}
        return (
            row
            | metrics.results()
            | {
                "top1_gain_interval": difference_interval(base.right1, metrics.right1),
                "top5_gain_interval": difference_interval(base.right5, metrics.right5),
            }
        )

    def _input(self, path: Path) -> dict[str, Any]:
        """Each network keeps its own input size."""
        data = self.checkpoints[path]["deeper"]["config"]["data"]
        return {"image_size": data["image_size"], "eval_crop": stored.eval_crop(data)}

    def _shared_key(self) -> dict[str, Any]:
        """With `_network_key` and the protocol: all that decides the probabilities, except the
        rounding of batch sizes and hardware.
        """
        return {
            "split": self.settings.split,
            "root": str(Path(self.data.root).expanduser().absolute()),
            "data": self.data.fingerprint(),
            "files": files_digest(self.images),
            "fusion": str(self.settings.fusion),
            "precision": self.settings.precision,
            "code": code_hash(),
            "torch": str(torch.__version__),
        }

    def _network_key(self, path: Path) -> dict[str, Any]:
        averages = "averaged_state_dict" in self.checkpoints[path]
        weights = self.settings.weights if averages else "live"
        return {"checkpoint": file_digest(path), "weights": weights}
