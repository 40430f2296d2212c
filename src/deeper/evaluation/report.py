"""The files of an evaluation: JSON and the confusion matrix."""

from pathlib import Path
from typing import Any

import numpy as np

from deeper.evaluation.metrics import Metrics
from deeper.files import json_text, whole
from deeper.runs import record


def save_evaluation(
    content: dict[str, Any], metrics: Metrics, classes: list[str], run: Path
) -> None:
    """Write `<run>/<name>.json`, and a copy `eval/<name>.json` in the run of each checkpoint.

    `<name>` is that of the evaluation's directory `run`. The confusion matrix lies beside it.
    """
    confusion = run / "confusion.npy"
    with whole(confusion) as path, path.open("wb") as array:
        np.save(array, metrics.confusion, allow_pickle=False)
    counts = {"classes": metrics.classes(classes), "confusion": str(confusion)}
    text = json_text(content | counts, indent=2) + "\n"
    _write(report_file(run), text)
    for trained in dict.fromkeys(Path(p).absolute().parent.parent for p in content["checkpoints"]):
        if not (trained / record.FILE).exists():
            continue
        try:
            if content["split"] == "test":
                record.count_test_look(trained)
            (trained / "eval").mkdir(exist_ok=True)
            _write(trained / "eval" / report_file(run).name, text)
        except (OSError, ValueError) as error:  # a run that is not ours to write to
            why = getattr(error, "strerror", error)
            print(f"{trained}: {why}, so no copy is written there")


def report_file(run: Path) -> Path:
    return run / f"{run.name}.json"


def _write(file: Path, text: str) -> None:
    with whole(file) as path:
        path.write_text(text)
    print(f"written to {file}")
