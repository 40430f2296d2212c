"""`reproduce=`: a run's config, seeds and data again, and its numbers compared with its record."""

import math
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from deeper.config import overrides, stored
from deeper.config.errors import ConfigError
from deeper.config.experiments import flattened
from deeper.runs import metrics, record
from deeper.runs.provenance import provenance

TOLERANCE = 0.05
"""Largest difference, as a fraction of the larger number, on other hardware or versions."""

ALLOWED = ("reproduce", "paths.logs", "paths.cache", "paths.data", "data.root", "logger", "trust")
"""Words of the command line that change nothing of what is computed."""

MEASURED = ("perf/",)
"""Prefixes of numbers that no two runs share."""


class NotReproduced(Exception):
    """The numbers differ from those of the record."""

    exit_status = 1


def recorded_config(cfg: DictConfig) -> DictConfig:
    """The config of the record that `cfg.reproduce` names, with this machine's paths.

    Raises `ConfigError` for words on the command line that would change what is computed.
    """
    config = stored.as_config(_moved(record_of(cfg)["config"], cfg))
    problems = []
    for word in overrides.task_overrides():
        key = overrides.key_of(word).replace("/", ".")
        if key not in ALLOWED:
            theirs = OmegaConf.select(config, key)
            problems.append(
                f"{word}: reproduce={cfg.reproduce} keeps the config of its record ({key}={theirs}); "
                f"leave it out"
            )
    if problems:
        raise ConfigError(problems)
    with open_dict(config):
        config.update({"paths": cfg.paths, "logger": cfg.logger, "reproduce": cfg.reproduce})
        config.name = f"{config.name}-again"
        if "data.root" in map(overrides.key_of, overrides.task_overrides()):
            config.data.root = cfg.data.root
    return config


def _moved(config: dict[str, Any], cfg: DictConfig) -> dict[str, Any]:
    """The config of a record with places below this run's paths for those below the record's own.

    Of a record that was kept without its paths, missing keys are those of `cfg`.
    """
    here: Any = OmegaConf.to_container(cfg.paths, resolve=True)
    there = config.get("paths", {})
    pairs = [(str(there[key]), str(here[key])) for key in there.keys() & here.keys()]
    pairs.sort(key=lambda pair: len(pair[0]), reverse=True)  # inner folders first

    def moved(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: moved(value) for key, value in node.items()}
        if isinstance(node, list):
            return [moved(value) for value in node]
        for old, new in pairs if isinstance(node, str) else ():
            if node == old or node.startswith(f"{old}/"):
                return new + node.removeprefix(old)
        return node

    config = moved(config)
    for key, value in flattened(OmegaConf.to_container(cfg)):
        *parents, name = key.split(".")
        if isinstance(value, str) and "${paths." in value and key != "data.root":
            place = config
            for parent in parents:
                place = place.get(parent) or {}
            if place:
                place.setdefault(name, OmegaConf.select(cfg, key))
    return config


def compare(cfg: Any, run: Path) -> str:
    """How the finished `run` agrees with the record; raises `NotReproduced` with the differences."""
    before, now = record_of(cfg), record.read_record(run)
    here = provenance()
    other = [key for key in ("versions", "hardware") if before.get(key) != here[key]]
    numbers = _numbers(before, _place(cfg)[0])
    found = _numbers(now, run)
    differ = [
        f"  {name}: {found.get(name)}, in the record {value}"
        for name, value in numbers.items()
        if not _agree(value, found.get(name), exact=not other)
    ]
    code = "" if before["code"] == now["code"] else "; the code is other than the record's"
    if differ:
        shown = "\n".join(differ[:10])
        raise NotReproduced(f"{len(differ)} of {len(numbers)} numbers differ{code}:\n{shown}")
    how = f"within {TOLERANCE:.0%}, on other {' and '.join(other)}" if other else "to the bit"
    return f"reproduced {how}: {len(numbers)} numbers{code}"


def record_of(cfg: Any) -> dict[str, Any]:
    """The record that `cfg.reproduce` names."""
    content = record.read_record(*_place(cfg))
    if not {"config", "results", "data"} <= content.keys():
        raise ValueError(
            f"reproduce={cfg.reproduce}: not the record of a finished training; pass a run directory"
        )
    return content


def _place(cfg: Any) -> tuple[Path, str]:
    """The record's folder and file name."""
    path = Path(cfg.reproduce).expanduser()
    return (path, record.FILE) if path.is_dir() else (path.parent, path.name)


def _numbers(content: dict[str, Any], run: Path) -> dict[str, Any]:
    """The results, and every row where the run's metrics.jsonl is there."""
    numbers = {f"results {name}": value for name, value in content["results"].items()}
    for row in metrics.rows(run):
        named = {k: v for k, v in row.items() if not k.startswith(MEASURED)}
        numbers |= {f"step {row['step']} {name}": value for name, value in named.items()}
    return numbers


def _agree(a: Any, b: Any, exact: bool) -> bool:
    if exact or a is None or b is None:
        return bool(a == b)
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE if abs(a) <= 1 else 0)
