"""Registers `hydra/launcher=process`; the launcher is `deeper.sweep.launcher`."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore

from deeper.sweep import launcher


class ProcessLauncher(launcher.ProcessLauncher):
    """Hydra accepts plugin classes of this package alone."""


@dataclass
class ProcessLauncherConf:
    _target_: str = "hydra_plugins.process_launcher.ProcessLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="process", node=ProcessLauncherConf, provider="deeper"
)
