"""Values that no run can have: numbers out of range, metrics that nothing computes, missing hardware."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from deeper.config import overrides
from deeper.config.errors import suggestion
from deeper.training.precision import Name, accelerator_for, resolved_precision

EVALUATED = ("loss", "top1", "top5")
"""Metrics of every validation, beside those of the group `metrics`."""

TRAINED = ("train/", "optim/", "grad_norm/", "perf/")
"""Prefixes of what is measured in training."""


def impossible_values(config: Mapping[str, Any]) -> Iterator[str]:
    """One line per mistake of a resolved training config."""
    batches = {"trainer.accumulate_grad_batches": config["trainer"].get("accumulate_grad_batches")}
    yield from too_small(1, epochs=config["epochs"], **batches)
    for key in ("seed", "init_seed", "data_seed"):
        if not 0 <= config[key] < 2**63:
            yield f"{key}={config[key]}: must lie in 0..2^63-1"
    if config["objective"].endswith("loss") and config["direction"] == "maximize":
        yield (
            f"objective={config['objective']} is better when it is lower: pass direction=minimize too"
        )
    yield from _unknown_metrics(config)


def too_small(least: int, **values: Any) -> Iterator[str]:
    """Integers below their least value; null and words such as auto are accepted."""
    for key, value in values.items():
        if isinstance(value, int) and value < least:
            yield f"{key}={value}: must be at least {least}"


def _unknown_metrics(config: Mapping[str, Any]) -> Iterator[str]:
    """Metrics to optimise or monitor that no validation computes."""
    known = [f"val/{name}" for name in (*EVALUATED, *config["metrics"])]
    asked = {"objective": config["objective"]}
    for name, node in config["callbacks"].items():
        monitor = node.get("monitor") if isinstance(node, Mapping) else None
        if monitor and (name == "checkpoint" or not monitor.startswith(TRAINED)):
            asked[f"callbacks.{name}.monitor"] = monitor
    for key, metric in asked.items():
        if metric not in known:
            yield f"{key}={metric}: no such metric{suggestion(metric, known)}"


def missing_hardware(config: Mapping[str, Any]) -> Iterator[str]:
    """What this machine cannot do. Imports torch, unless the trainer asks for the CPU."""
    trainer = config["trainer"]
    if overrides.jobs_share_a_process() and "ddp" in str(trainer.get("strategy")).lower():
        yield (
            "trainer.strategy: with this launcher each rank of a DDP trainer would start the whole "
            "sweep again; leave hydra/launcher out"
        )
    if overrides.jobs_run_elsewhere():
        return
    if (accelerator := accelerator_for(trainer.get("accelerator"))) == "cuda":
        return
    if trainer.get("accelerator") in ("gpu", "cuda"):
        yield "trainer: no CUDA GPU here; use trainer=cpu, trainer=ddp_cpu or trainer=auto"
    if trainer.get("sync_batchnorm"):
        yield (
            "trainer.sync_batchnorm: needs CUDA GPUs; on CPU leave it false "
            "(each process keeps statistics of its own)"
        )
    yield from missing_precision(config["precision"], accelerator)


def missing_precision(name: Name, accelerator: Literal["cpu", "cuda"]) -> Iterator[str]:
    """A line for a number format that the accelerator has no arithmetic for."""
    try:
        resolved_precision(name, accelerator)
    except ValueError as error:
        yield str(error)
