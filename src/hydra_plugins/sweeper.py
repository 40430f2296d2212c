"""Registers `hydra/sweeper=deeper`, the sweeper of `deeper.sweep.search`."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from deeper.sweep import search


class Sweeper(search.Sweeper):
    """Hydra accepts only plugin classes that are defined in this package."""


@dataclass
class SweeperConf:
    _target_: str = "hydra_plugins.sweeper.Sweeper"
    params: dict[str, str] | None = field(default_factory=dict)
    search: dict[str, Any] | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="deeper", node=SweeperConf, provider="deeper"
)
