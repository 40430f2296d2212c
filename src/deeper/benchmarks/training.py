"""The default training on the embedded images, whole: `train.py`, with what its own log says of its speed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from statistics import median

from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Counts
from deeper.config.groups import PROJECT


def contests(setting: Setting) -> Iterator[Counts]:
    """Medians over the log's rows but the first, in which kernels load."""
    words = [
        f"trainer={setting.trainer}",
        f"precision={setting.precision.name}",
    ]
    where = [f"paths.logs={setting.scratch}", f"paths.data={setting.scratch / 'data'}"]
    command = [sys.executable, str(PROJECT / "src/train.py"), *words, *where]
    subprocess.run(command, check=True)
    (run,) = (path.parent for path in setting.scratch.rglob("run.json"))
    results = json.loads((run / "run.json").read_text())["results"]
    lines = (run / "metrics.jsonl").read_text().splitlines()
    measured = [row for row in map(json.loads, lines) if "perf/images_per_s" in row][1:]
    yield Counts(
        f"train.py {' '.join(words)}",
        [
            {key: median(row[f"perf/{key}"] for row in measured) for key in ("images_per_s", "data_wait")}
            | {key: results[key] for key in ("val/top1", "test/top1", "test/loss")}
        ],
    )  # fmt: skip
