"""What run.json says of a run, as dashboards show it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeper.config.overrides import arm, key_of
from deeper.evaluation.metrics import wilson

CHOSEN = ("epochs", "batch_size", "lr", "seed")
"""Keys of the config that tables of runs show, beside those that the command line sets."""

LEFT_OUT = (
    "paths", "logger", "resume", "trust", "test", "preflight", "trainer", "callbacks", "debug", "sweep",
    "recipe", "experiment", "data", "precision",  # shown under names of their own
)  # fmt: skip
"""Keys on the command line, with all below them, that a table of runs does not show."""


def facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """The node `run` of a W&B config: what the resolved config does not say."""
    return {
        "recipe": record["recipe"],
        "experiment": arm(record["experiments"]),
        "identity": record["identity"],
        "cell": record["cell"],
        "sweep": record.get("sweep"),
        "data": record["data"],
        "precision": record["precision"]["used"],
    }


def name(record: Mapping[str, Any]) -> str:
    """What differs within its sweep; of a single run its name and seed."""
    return record.get("job") or f"{record['config']['name']}-s{record['seed']}"


def run_id(record: Mapping[str, Any], run: Path) -> str:
    """The same for all starts of a run, and another where one of the same identity begins anew."""
    began = re.sub(r"\D", "", record["starts"][0][:19])
    dated = re.match(r"\d{4}-\d\d-\d\d_", run.name)
    return run.name[:100] if dated else f"{record['identity']}-{began}"


def tags(record: Mapping[str, Any]) -> list[str]:
    """Recipe, experiments, data set and precision."""
    found = [
        record["recipe"], *(record["experiments"] or ["baseline"]), _data_set(record),
        record["precision"]["used"],
    ]  # fmt: skip
    return [tag[:64] for tag in found]  # W&B refuses longer ones


def chosen(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a table of runs is sorted by: a few settings, and all that the command line chose."""
    config = record["config"]
    words = {key_of(word): _number(word.partition("=")[2]) for word in record["overrides"]}
    said = {key: value for key, value in words.items() if key.partition(".")[0] not in LEFT_OUT}
    about = {"recipe": record["recipe"], "experiment": arm(record["experiments"])}
    about |= {"data": _data_set(record), "precision": record["precision"]["used"]}
    return about | said | {key: config[key] for key in CHOSEN if key in config}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def summary(results: Mapping[str, float]) -> dict[str, float]:
    """best/… of the checkpoint that was chosen, and the interval of test/top1 (95 %, Wilson)."""
    found = {
        f"best/{key}": value
        for key, value in results.items()
        if (key.startswith("val/") or key == "epoch") and value is not None  # None is not a number
    }
    if n := int(results.get("test/n", 0)):
        low, high = wilson(round(results["test/top1"] * n), n)
        found |= {"test/top1_low": low, "test/top1_high": high}
    return found


def _data_set(record: Mapping[str, Any]) -> str:
    source = record["config"]["data"]["source"].get("_target_", "")
    return str(source).rpartition(".")[2].lower()
