"""Stored runs: what reports read of their directories. Imports no torch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.config import overrides
from deeper.runs import directory, metrics, record
from deeper.runs.record import OUTCOMES
from deeper.sweep import manifest

BASELINE = "baseline"


@dataclass(frozen=True)
class StoredRun:
    """A run, or a job of a sweep that has not begun: then `record` is empty."""

    directory: Path
    arm: str
    """Its experiments, joined by +."""
    seed: int
    record: Mapping[str, Any] = field(repr=False, default_factory=dict)

    @property
    def state(self) -> str:
        """finished, diverged, failed, interrupted or running; missing for one that has not begun."""
        return str(self.record.get("status", "missing"))

    @property
    def config(self) -> dict[str, Any]:
        return self.record.get("config") or {}

    def result(self, metric: str) -> float | None:
        """None where it was not measured."""
        found = self.record.get("results", {}).get(metric)
        return None if self.state != "finished" or found is None else float(found)

    @cached_property
    def outcomes(self) -> Mapping[str, NDArray[Any]] | None:
        """label, predicted, rank and nll of each test image; None where they were not stored."""
        file = self.directory / OUTCOMES
        if not file.exists():
            return None
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)

    def series(self, metric: str) -> tuple[list[float], list[float]]:
        """Epochs, as fractions, and the values that the log has of a metric."""
        rows = [row for row in metrics.rows(self.directory) if metric in row]
        return [row["epoch"] for row in rows], [row[metric] for row in rows]


def read_all(folders: Iterable[str | Path], skip_damaged: bool = False) -> list[StoredRun]:
    """Runs of run directories, of multiruns and of folders with runs, each once.

    Raises `ValueError` for a folder that holds none, and for a record that is damaged or is none of a
    training, unless they are skipped.
    """
    found: dict[Path, StoredRun] = {}
    for folder in map(Path, folders):
        runs = [*_read(folder.expanduser(), skip_damaged)]
        if not (runs or skip_damaged):
            raise ValueError(
                f"{folder}: neither a run directory nor a multirun, and no runs lie in it; "
                f"`ls logs/train/multiruns logs/train/runs` lists yours"
            )
        found |= {run.directory.resolve(): run for run in runs}
    return [*found.values()]


def _read(folder: Path, skip_damaged: bool) -> Iterator[StoredRun]:
    if jobs := manifest.read(folder):
        yield from (_of_job(folder, job["run"], job["overrides"]) for job in jobs)
        listed = {job["run"] for job in jobs}
        others = sorted(folder.glob(f"runs/*/{record.FILE}"))
        yield from (_of_record(file.parent) for file in others if file.parent.name not in listed)
        return
    if (folder / record.FILE).exists():
        yield _of_record(folder)
        return
    files = [*folder.glob(f"*/{record.FILE}"), *folder.glob(f"runs/*/{record.FILE}")]
    for file in sorted(files):
        with suppress(ValueError) if skip_damaged else nullcontext():
            yield _of_record(file.parent)


def _of_record(folder: Path) -> StoredRun:
    content = record.read_record(folder)
    if not {"experiments", "seed", "cell", "data", "code"} <= content.keys():
        raise ValueError(f"{folder}: no training run, or one of an earlier version of this project")
    return StoredRun(folder, overrides.arm(content["experiments"]), int(content["seed"]), content)


def _of_job(sweep: Path, name: str, words: Sequence[str]) -> StoredRun:
    """From the folder that keeps the sweep's records, or from the store."""
    places = [sweep / "runs" / name, sweep.resolve().parents[1] / directory.STORE / name]
    for place in places:
        if (place / record.FILE).exists():
            return _of_record(place)
    seeds = [word.partition("=")[2] for word in words if word.startswith("seed=")]
    arm = overrides.arm(overrides.chosen_options("experiment", [*words]))
    return StoredRun(places[-1], arm, int(seeds[-1]) if seeds else 0)
