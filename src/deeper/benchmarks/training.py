"""The default training on the embedded images, whole: `train.py`, with what its own log says of its speed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Counts
from deeper.config.groups import PROJECT
from deeper.runs import metrics, record


def contests(setting: Setting) -> Iterator[Counts]:
    words = [f"trainer={setting.trainer}", f"precision={setting.precision.name}"]
    run = trained(setting, *words)
    results = record.read_record(run)["results"]
    row = {key: measured(run, key) for key in ("images_per_s", "data_wait")}
    row |= {key: results[key] for key in ("val/top1", "test/top1", "test/loss")}
    yield Counts(f"train.py {' '.join(words)}", [row])


def trained(setting: Setting, *words: str) -> Path:
    """The directory of a run of `train.py <words>`."""
    before = {*setting.scratch.rglob("run.json")}
    where = [f"paths.logs={setting.scratch}", f"paths.data={setting.scratch / 'data'}"]
    command = [sys.executable, str(PROJECT / "src/train.py"), *words, *where]
    subprocess.run(command, check=True)
    (new,) = {*setting.scratch.rglob("run.json")} - before
    return new.parent


def measured(run: Path, key: str) -> Any:
    """The median of perf/<key> over the log's rows but the first, in which kernels load."""
    return median([r[f"perf/{key}"] for r in metrics.rows(run) if f"perf/{key}" in r][1:])


def rate(setting: Setting, *words: str) -> float:
    """Images a second of all processes together, in a training of four epochs."""
    return float(measured(trained(setting, "epochs=4", "test=false", *words), "images_per_s"))
