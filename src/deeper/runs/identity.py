"""What makes two runs the same: the hash of what they compute, not of where and with what."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

ELSEWHERE = frozenset(
    ["paths", "logger", "name", "resume", "requires", "scales", "test", "compile", "task_name"]
)
"""Groups and keys that change no weight and no metric of validation."""

BESIDE = {
    "trainer": frozenset(
        [
            "accelerator",
            "accumulate_grad_batches",
            "default_root_dir",
            "devices",
            "enable_checkpointing",
            "enable_model_summary",
            "enable_progress_bar",
            "log_every_n_steps",
            "num_nodes",
            "profiler",
            "strategy",
            "use_distributed_sampler",
        ]
    ),
    "data": frozenset(["cache", "eval_batch_size", "root", "stage_to", "workers"]),
    "callbacks": frozenset(["banner", "checkpoint", "meter", "progress"]),
}
"""The same, below groups of which other keys do count."""


def identity(config: Mapping[str, Any]) -> str:
    """Twelve hex digits that a resolved config shares with every config that computes the same.

    Precision counts, the number of devices does not: the global batch stays what it is.
    """
    kept = {key: value for key, value in config.items() if key not in ELSEWHERE}
    for group, names in BESIDE.items():
        node = kept.get(group) or {}
        kept[group] = {key: value for key, value in node.items() if key not in names}
    data, paths = config.get("data") or {}, config.get("paths") or {}
    places = (data.get("root"), data.get("cache"), paths.get("run"), paths.get("data"))
    text = json.dumps(_without([p for p in places if p], kept), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _without(places: Sequence[str], node: Any) -> Any:
    """Sources repeat where the data and the cache lie under names of their own, callbacks the run."""
    if isinstance(node, Mapping):
        kept = {key: value for key, value in node.items() if not _below(places, value)}
        return {key: _without(places, value) for key, value in kept.items()}
    return node


def _below(places: Sequence[str], value: Any) -> bool:
    return isinstance(value, str) and any(
        value == place or value.startswith(f"{place}/") for place in places
    )
