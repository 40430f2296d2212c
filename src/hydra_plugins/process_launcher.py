"""Registers `hydra/launcher=process`, the launcher of `deeper.sweep.launcher`."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore

from deeper.sweep import launcher


class ProcessLauncher(launcher.ProcessLauncher):
    """Hydra accepts only plugin classes that are defined in this package."""


@dataclass
class ProcessLauncherConf:
    _target_: str = "hydra_plugins.process_launcher.ProcessLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="process", node=ProcessLauncherConf, provider="deeper"
)
