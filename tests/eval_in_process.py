"""src/eval.py in the process of a test."""

import json
from pathlib import Path

from entry import call, run_dirs


def evaluate(folder: Path, *words: str) -> dict:
    """What src/eval.py wrote; logs and cache lie in `folder`. A refusal raises."""
    logs = folder / "evaluated"
    shared = ["trainer=cpu", "precision=fp32", f"paths.logs={logs}", f"paths.cache={folder}/c"]
    before = set(run_dirs(logs))
    result = call(*shared, *words, script="eval", HYDRA_FULL_ERROR="1")
    print(result.stdout, end="")
    (new,) = set(run_dirs(logs)) - before
    return json.loads((new / f"{new.name}.json").read_text())
