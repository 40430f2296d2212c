"""What the mirrors of a run's metrics.jsonl hold, in the form of its rows."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

MEDIA = ("images/", "gradients/")
"""Prefixes of keys that hold no number."""


def csv_rows(run: Path) -> list[dict[str, Any]]:
    with (run / "metrics.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def wandb_rows(run: Path) -> list[dict[str, Any]]:
    """Of all W&B files in the run, whose own steps must be 0, 1, 2 …"""
    found = [r["history"]["item"] for r in wandb_records(run) if r["type"] == "history"]
    assert [row["_step"] for row in found] == [*range(len(found))]
    steps = [{"step": row.pop("trainer/global_step")} for row in found]
    return [
        step | {k: v for k, v in row.items() if k[0] != "_" and not k.startswith(MEDIA)}
        for step, row in zip(steps, found, strict=True)
    ]


def wandb_media(run: Path) -> set[tuple[int, str]]:
    """(step, key) of all images and histograms."""
    found = [r["history"]["item"] for r in wandb_records(run) if r["type"] == "history"]
    return {
        (row["trainer/global_step"], key.removesuffix("._type"))
        for row in found
        for key in row
        if key.endswith("._type")
    }


def wandb_records(run: Path) -> list[dict[str, Any]]:
    found = []
    for file in sorted((run / "wandb").glob("*run-*/*.wandb")):
        wandb = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--json", file]
        lines = subprocess.run(wandb, capture_output=True, text=True, check=True).stdout
        found += [json.loads(line) for line in lines.splitlines()]
    return found


def tensorboard_media(run: Path) -> set[tuple[int, str]]:
    return {(step, value.tag) for step, value in _values(run) if value.tag.startswith(MEDIA)}


def tensorboard_hparams(run: Path) -> dict[str, Any]:
    """Of the last start that HPARAMS shows: name → value, and `metrics`, the names of its columns."""
    contents: dict[str, Any] = {}
    for _, value in _values(run):
        if value.tag.startswith("_hparams_"):
            content = HParamsPluginData.FromString(value.metadata.plugin_data.content)
            if content.HasField("session_start_info"):
                values = content.session_start_info.hparams.items()
                contents |= {k: v.string_value or v.number_value for k, v in values}
            if content.HasField("experiment"):
                contents["metrics"] = [m.name.tag for m in content.experiment.metric_infos]
    return contents


def tensorboard_points(run: Path) -> list[tuple[int, str, float]]:
    """(step, name, value) of all event files, sorted."""
    return sorted(
        (step, value.tag, *value.tensor.float_val)
        for step, value in _values(run)
        if value.tensor.float_val
    )


def _values(run: Path) -> Iterator[tuple[int, Any]]:
    for file in sorted((run / "tensorboard").glob("events.*")):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                yield event.step, value
