"""Figures of one GPU into benchmarks/results/gpu.json: a short real training, and LRN against torch's.

`make gpu` runs it after the tests. The training is the baseline on the embedded images.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
RESULT = PROJECT / "benchmarks/results/gpu.json"
WORDS = ["trainer=gpu", "precision=auto", "name=gpu"]

sys.path.insert(0, str(PROJECT / "src"))  # an interpreter without the package will do

import lrn  # noqa: E402
import torch  # noqa: E402


def training() -> dict[str, Any]:
    """Images a second are the median over the log's rows but the first, in which kernels load."""
    with TemporaryDirectory() as logs:
        words = [str(PROJECT / "src/train.py"), *WORDS, f"paths.logs={logs}"]
        subprocess.run([sys.executable, *words], check=True)
        (run,) = (path.parent for path in Path(logs).rglob("run.json"))
        record = json.loads((run / "run.json").read_text())
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    measured = [row for row in rows if "perf/images_per_s" in row][1:]
    return {
        "command": " ".join(["python src/train.py", *WORDS]),
        "commit": record["commit"],
        "code": record["code"],
        "versions": record["versions"],
        "images_per_s": round(median(row["perf/images_per_s"] for row in measured)),
        "data_wait": round(median(row["perf/data_wait"] for row in measured), 3),
        "results": record["results"],
    }


def lrn_ms() -> dict[str, float]:
    """Milliseconds of forward and backward in float32, medians of 20 rounds in turns."""
    taken = lrn.measured("cuda", rounds=20)
    return {f"{name}_ms": round(1000 * median(times), 3) for name, times in taken.items()}


def main() -> None:
    major, minor = torch.cuda.get_device_capability()
    figures = {
        "device": torch.cuda.get_device_name(),
        "compute_capability": f"{major}.{minor}",
        "cuda": torch.version.cuda,
        "training": training(),
        "lrn_32x192x56x56": lrn_ms(),
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"written to {RESULT.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
