"""Identity of a run: the hash of what it computes, without where it runs and where files lie."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from deeper.config.instantiate import resolved
from deeper.training.precision import accelerator_for

IRRELEVANT = """
    paths logger metrics name task_name resume reproduce preflight requires test compile kernels trust
    scales epochs batch_size lr sweep claim
"""
"""Keys that change no weight and no validation metric; those of the second line act through others."""

IRRELEVANT_BELOW = {
    "trainer": """
        accelerator accumulate_grad_batches default_root_dir devices enable_checkpointing
        enable_model_summary enable_progress_bar log_every_n_steps num_nodes profiler strategy
        sync_batchnorm use_distributed_sampler
    """,
    "data": "cache eval_batch_size root stage_to workers",
    "callbacks": "banner checkpoint curves media meter progress",
}
"""The same, below groups whose other keys are relevant."""

ADDED = {"data": {"eval_scale": 1.0, "initial_scale": 1.0}}
"""Keys that came after the first runs, at the value that changes nothing: runs keep their identity."""

SEEDS = ("seed", "init_seed", "data_seed")
"""Keys in which repetitions of a run differ."""

SOURCE_PATHS = ("generate_at",)
"""Keys of `data.source` that say where files lie."""


def identity_of(config: DictConfig, precision: str | None = None) -> str:
    """That of a composed config, wherever its run directory lies; `precision` is what was asked for."""
    ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    with open_dict(ours):
        ours.paths.run = ""
        ours.precision = precision or ours.precision
    return identity(resolved(ours))


def identity(config: Mapping[str, Any]) -> str:
    """Twelve hex digits, equal for resolved configs that compute the same.

    Devices and accumulation divide the global batch, which stays what it is, so they are relevant
    only to batch norm, which sees one micro-batch at a time. `precision=auto` is an identity of its
    own: what it stands for is pinned when a run starts.
    """
    kept = relevant(config)
    kept["batch_norm"] = _batch_norm(config)
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def relevant(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a resolved config that change what it computes."""
    kept = {key: value for key, value in config.items() if key not in IRRELEVANT.split()}
    for group, names in IRRELEVANT_BELOW.items():
        node = kept.get(group) or {}
        kept[group] = {key: value for key, value in node.items() if key not in names.split()}
    for group, added in ADDED.items():
        kept[group] = {k: v for k, v in kept[group].items() if k not in added or v != added[k]}
    source = (kept["data"].get("source") or {}).items()
    kept["data"]["source"] = {key: v for key, v in source if key not in SOURCE_PATHS}
    return kept


def _batch_norm(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The batches that batch norm sees; None for a network that is known to have none."""
    norm = (config.get("model") or {}).get("norm") or {}
    if str(norm.get("_target_", "BatchNorm")).rpartition(".")[2] != "BatchNorm":
        return None
    trainer, data = config.get("trainer") or {}, config.get("data") or {}
    number = processes(trainer)
    parts = number * trainer.get("accumulate_grad_batches", 1)
    return {
        "micro_batch": data.get("batch_size", 0) / parts,
        "processes": number,
        "sync": number > 1 and bool(trainer.get("sync_batchnorm")),
    }


def processes(trainer: Mapping[str, Any]) -> int:
    """Training processes of a resolved trainer config, one a device."""
    gpus = accelerator_for(trainer.get("accelerator")) == "cuda"
    devices = trainer.get("devices", "auto")
    if isinstance(devices, str) and "," in devices:
        devices = [device for device in devices.split(",") if device.strip()]
    if str(devices) in ("auto", "-1"):
        devices = _gpus() if gpus else 1
    number = len(devices) if isinstance(devices, list) else int(devices)
    return max(number, 1) * int(trainer.get("num_nodes", 1))


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
