"""Configs for a notebook, as the command line would compose them."""

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from deeper.cli.resolvers import register_resolvers
from deeper.config.groups import CONFIG_FOLDER
from deeper.config.schema import register_schemas


def compose(*words: str, name: str = "train") -> DictConfig:
    """The config of `python src/train.py WORDS`, of which `deeper.runs.build` makes objects."""
    register_schemas()
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return hydra_compose(name, [*words])
