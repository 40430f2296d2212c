"""Registers `hydra/launcher=process` and `hydra/launcher=slurm`, the launchers of `deeper.sweep`."""

from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore

from deeper.sweep import launcher, slurm


class ProcessLauncher(launcher.ProcessLauncher):
    """Hydra accepts only plugin classes that are defined in this package."""


class SlurmLauncher(slurm.SlurmLauncher):
    """As above."""


@dataclass
class ProcessLauncherConf:
    _target_: str = "hydra_plugins.launchers.ProcessLauncher"


@dataclass
class SlurmLauncherConf:
    _target_: str = "hydra_plugins.launchers.SlurmLauncher"
    options: list[str] = field(default_factory=list)
    """Of sbatch: partition, time, memory, cores a task."""
    signal_s: int = 120
    """Seconds before the end of a job's time at which it saves and is queued again."""


for name, node in (("process", ProcessLauncherConf), ("slurm", SlurmLauncherConf)):
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=node, provider="deeper")
