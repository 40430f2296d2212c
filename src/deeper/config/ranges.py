"""Numbers out of range, and names of metrics that no run has."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

from deeper.config.errors import closest

LEAST = {"epochs": 1, "batch_size": 1, "trainer.accumulate_grad_batches": 1}
SEEDS = ("seed", "init_seed", "data_seed")

EVALUATED = ("loss", "top1", "top5")
"""Metrics of every validation and test, beside those of the group `metrics`."""

TRAINED = ("train/", "optim/", "grad_norm/", "perf/")
"""Prefixes of what is measured in training."""


def problems(config: Mapping[str, Any]) -> Iterator[str]:
    """One line per mistake of a resolved training config."""
    yield from too_small(config, LEAST)
    for key in SEEDS:
        if not 0 <= config[key] < 2**63:
            yield f"{key}={config[key]}: must lie in 0..2^63-1"
    yield from _metric_problems(config)


def too_small(config: Any, least: Mapping[str, int]) -> Iterator[str]:
    """Numbers below their least value; null is accepted."""
    node = config if OmegaConf.is_config(config) else OmegaConf.create(dict(config))
    for key, limit in least.items():
        value = OmegaConf.select(node, key)
        if isinstance(value, int) and value < limit:
            yield f"{key}={value}: must be at least {limit}"


def _metric_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Metrics to optimise or monitor that no validation computes."""
    names = [*EVALUATED, *config["metrics"]]
    known = [f"val/{name}" for name in names]
    tested = [f"test/{name}" for name in names] if config["test"] else []
    yield from _unknown("objective", config["objective"], [*known, *tested])
    for name, node in config["callbacks"].items():
        monitor = node.get("monitor") if isinstance(node, Mapping) else None
        if name != "checkpoint" and str(monitor).startswith(TRAINED):
            continue
        if monitor is not None and monitor != config["objective"]:
            yield from _unknown(f"callbacks.{name}.monitor", monitor, known)


def _unknown(key: str, metric: str, known: list[str]) -> Iterator[str]:
    if metric not in known:
        advice = closest(metric, known) or f"; choose from {', '.join(known)}"
        yield f"{key}={metric}: no such metric{advice}"
