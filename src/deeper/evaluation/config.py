"""The config of an evaluation: the training's, with the hardware, the paths and the data of the command."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from deeper.config import signatures, stored


def evaluation_config(cfg: Any, state: dict[str, Any]) -> DictConfig:
    """From the config that the checkpoint `state` holds, and src/eval.py's `cfg`."""
    trained = state["deeper"]["config"]
    here = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(here, dict)  # noqa: S101
    data, cache = trained["data"], here["paths"]["cache"]
    data = data | {key: value for key, value in here["data"].items() if value is not None}
    # stage_to also where it is null: the training node's disk is not this node's.
    data |= {"cache": cache, "stage_to": here["data"]["stage_to"]}
    signatures.require_buildable({"data": data})
    config = trained | {key: here[key] for key in ("trainer", "precision", "kernels", "paths")}
    bar = {"_target_": "deeper.callbacks.progress.ProgressBar"}
    config |= {"data": data, "callbacks": {"progress": bar}, "logger": {}, "averaging": {}}
    return stored.as_config(config | {"augment": {}, "compile": False})
