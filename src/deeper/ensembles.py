"""Any number of trained networks by any number of protocols, each pair run once and kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from deeper import checkpoint, trained
from deeper.config.build import build, resolved
from deeper.data.datamodule import ImageData
from deeper.evaluation import real
from deeper.evaluation.counts import Counts, counted
from deeper.evaluation.judge import Job, Judge
from deeper.evaluation.probabilities import Kept, averaged, sampled
from deeper.evaluation.protocol import Looks, crops
from deeper.models.deployed import Deployed
from deeper.provenance import code_hash


@dataclass(frozen=True)
class Question:
    """What all networks are asked."""

    data: ImageData
    split: str
    fusion: Any
    precision: str
    weights: str
    cache: Path


class Ensemble:
    """`protocols` maps names to config nodes."""

    def __init__(
        self,
        states: Mapping[Path, dict[str, Any]],
        protocols: Mapping[str, Any],
        question: Question,
    ) -> None:
        self.question = question
        self.images = getattr(question.data.splits, question.split)
        self.labels = self.images.labels
        self.pictures = sampled(self.images)
        self.models = {path: _config(state, question.data) for path, state in states.items()}
        self.states = states
        self.protocols = {name: resolved(node) for name, node in protocols.items()}
        self.kept = {
            (path, name): Kept(question.cache, self._about(path, node))
            for path in states
            for name, node in self.protocols.items()
        }

    def run(self, trainer: L.Trainer) -> None:
        """Only what is not kept yet."""
        missing = [key for key, kept in self.kept.items() if not kept.there]
        if not missing:
            return
        nets: dict[Path, nn.Module] = {}
        jobs = []
        for path, name in missing:
            if path not in nets:
                model = trained.of(self.states[path], path, self.question.weights)
                nets[path] = Deployed(model.preprocess, model.net).eval()
            kept, size = self.kept[path, name], self.models[path]["image_size"]

            def keep(found: Tensor, kept: Kept = kept) -> None:
                kept.write(found.numpy(), self.labels)

            jobs.append(Job(nets[path], self.looks(path, name), size, self.images, keep))
        judge = Judge(jobs, self.question.data, self.question.fusion)
        trainer.validate(judge, verbose=False)

    def looks(self, path: Path, name: str) -> Looks:
        model = self.models[path]
        looks: Looks = build(self.protocols[name])(model["image_size"], model["eval_crop"])
        return looks

    def counts(self, paths: list[Path], name: str) -> Counts:
        """Of the mean of these models' probabilities."""
        kept = [self.kept[path, name].read(self.labels) for path in paths]
        return counted(averaged(kept), self.labels)

    def found(self) -> tuple[dict[str, Any], Counts]:
        """Rows of the paper's table, each model by itself, and the counts of all by the last protocol."""
        paths, rows, each = [*self.models], [], []
        for path in paths:
            for name in self.protocols:
                counts = self.counts([path], name)
                about = {"protocol": name, "crops": crops(self.looks(path, name))}
                each.append({"checkpoint": str(path)} | about | counts.results())
                if path == paths[0]:
                    rows.append({"models": 1} | about | counts.results())
        if len(paths) > 1:
            for name in self.protocols:
                counts = self.counts(paths, name)
                about = {"protocol": name, "crops": crops(self.looks(paths[0], name))}
                rows.append({"models": len(paths)} | about | counts.results())
        else:
            counts = self.counts(paths, [*self.protocols][-1])
        return {"rows": rows, "each": each}, counts

    def real(self, file: Path, counts: Counts) -> dict[str, Any]:
        """By the labels of Beyer et al."""
        labels = real.read(file, len(self.question.data.classes))
        return real.results(counts.best, labels, real.numbers(self.images))

    def _about(self, path: Path, protocol: dict[str, Any]) -> dict[str, Any]:
        """All that decides the probabilities, but for rounding: batch size and hardware."""
        q, state = self.question, self.states[path]
        return {
            "checkpoint": checkpoint.sha256(path),
            "weights": q.weights if "averaged_state_dict" in state else "live",
            "split": q.split,
            "root": str(Path(q.data.root).expanduser().absolute()),
            "data": q.data.fingerprint(),
            "pictures": self.pictures,
            "protocol": protocol | self.models[path],
            "fusion": str(q.fusion),
            "precision": q.precision,
            "code": code_hash("augment", "evaluation", "models"),
            "torch": str(torch.__version__),
        }


def _config(state: dict[str, Any], data: ImageData) -> dict[str, Any]:
    """A network's own size; the first one's is that of the data."""
    stored = state["deeper"]["config"]["data"]
    return {"image_size": stored["image_size"], "eval_crop": stored.get("eval_crop", 0.875)}
