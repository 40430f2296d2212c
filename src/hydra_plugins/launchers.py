"""Registers `hydra/launcher=process` and `hydra/launcher=slurm`, the launchers of `deeper.sweep`."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore

from deeper.sweep import launcher, slurm


class ProcessLauncher(launcher.ProcessLauncher):
    """Hydra accepts only plugin classes that are defined in this package."""


class SlurmLauncher(slurm.SlurmLauncher):
    """Defined here for the same reason."""


@dataclass
class SlurmLauncherConf:
    _target_: str = "hydra_plugins.launchers.SlurmLauncher"
    partition: str | None = None
    account: str | None = None
    time: str | None = None
    mem: str | None = None
    cpus_per_task: int | None = None
    more: str = ""
    """Further options of sbatch, such as "--exclude=n3 --qos=low"."""
    signal_s: int = 120
    """Seconds before the end of a job's time at which it saves and is queued again."""


process = {"_target_": "hydra_plugins.launchers.ProcessLauncher"}
for name, node in (("process", process), ("slurm", SlurmLauncherConf)):
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=node, provider="deeper")
