"""Any number of trained networks by any number of protocols, each pair run once and kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from deeper import checkpoint
from deeper.config import stored as carried
from deeper.config.instantiate import build, resolved
from deeper.data.datamodule import ImageData
from deeper.evaluation.cache import Kept, averaged, sampled
from deeper.evaluation.metrics import Counts, counted, gain_interval
from deeper.evaluation.protocol import Looks, crops
from deeper.evaluation.runner import Job, Judge
from deeper.inference import model as trained
from deeper.models.deployed import Deployed
from deeper.runs.provenance import code_hash
from deeper.runs.record import is_main_process


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
        """Only what is not kept yet: the first process says what that is, and the others follow."""
        missing = self.missing()
        if trainer.world_size == 1 and not missing:
            return
        if missing and is_main_process():
            Kept.require_writable(self.question.cache)
        trainer.validate(Judge(self.jobs, self.question.data, self.question.fusion), verbose=False)

    def missing(self) -> list[int]:
        """Places in the order of `kept`."""
        return [i for i, kept in enumerate(self.kept.values()) if not kept.there(self.labels)]

    def jobs(self, agreed: Callable[[list[int]], list[int]]) -> list[Job]:
        """`agreed` answers what is missing for the first process."""
        keys = [*self.kept]
        missing = [keys[i] for i in agreed(self.missing())]
        nets = {path: self._net(path) for path in dict.fromkeys(path for path, _ in missing)}
        return [
            Job(
                nets[path],
                self.looks(path, name),
                self.models[path]["image_size"],
                self.images,
                partial(self._keep, path, name),
            )
            for path, name in missing
        ]

    def _keep(self, path: Path, name: str, found: Tensor) -> None:
        self.kept[path, name].write(found.numpy(), self.labels)

    def _net(self, path: Path) -> nn.Module:
        model = trained.of(self.states[path], path, self.question.weights)
        return Deployed(model.preprocess, model.net).eval()

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
        paths, names = [*self.models], [*self.protocols]
        base = self.counts(paths[:1], names[0])
        alone = {path: [self._row([path], name, base) for name in names] for path in paths}
        each = [{"checkpoint": str(path)} | row for path in paths for row in alone[path]]
        rows = [{"models": 1} | row for row in alone[paths[0]]]
        if len(paths) > 1:
            together = [self._row(paths, name, base) for name in names]
            rows += [{"models": len(paths)} | row for row in together]
        return {"rows": rows, "each": each}, self.counts(paths, names[-1])

    def _row(self, paths: list[Path], name: str, base: Counts) -> dict[str, Any]:
        counts = self.counts(paths, name)
        about = {"protocol": name, "crops": crops(self.looks(paths[0], name))}
        return about | counts.results() | {"gain_interval": gain_interval(base, counts)}

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
    return {"image_size": stored["image_size"], "eval_crop": carried.eval_crop(stored)}
