"""What the mirrors of a run's metrics.jsonl hold, in the form of its rows."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader


def csv_rows(run: Path) -> list[dict[str, Any]]:
    with (run / "metrics.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def wandb_rows(run: Path) -> list[dict[str, Any]]:
    """Of all W&B files in the run, whose own steps must be 0, 1, 2 …"""
    found = []
    for file in sorted((run / "wandb").glob("*run-*/*.wandb")):
        wandb = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--json", file]
        lines = subprocess.run(wandb, capture_output=True, text=True, check=True).stdout
        records = [json.loads(line) for line in lines.splitlines()]
        found += [r["history"]["item"] for r in records if r["type"] == "history"]
    assert [row["_step"] for row in found] == [*range(len(found))]
    steps = [{"step": row.pop("trainer/global_step")} for row in found]
    return [
        step | {k: v for k, v in row.items() if k[0] != "_"}
        for step, row in zip(steps, found, strict=True)
    ]


def tensorboard_points(run: Path) -> list[tuple[int, str, float]]:
    """(step, name, value) of all event files, sorted."""
    return sorted(
        (event.step, value.tag, *value.tensor.float_val)
        for file in (run / "tensorboard").glob("events.*")
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
        if value.tensor.float_val and value.tag != "hp_metric"
    )
