"""Configs of jobs are those that Hydra composes, each of its own."""

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from deeper.cli import composition
from deeper.config.compositions import Compositions

JOBS = {
    "values": (1, [["seed=0", "model.width=0.5"], ["seed=1", "model.width=0.25"]]),
    "options": (2, [["experiment=no_aux"], ["experiment=baseline", "model/head=fc"]]),
    "both": (1, [["recipe=paper", f"seed={s}", "experiment=[no_aux,head_fc]"] for s in (0, 1)]),
    "keys that come and go": (1, [["+requires.a=[b]", "~callbacks.banner", "epochs=3", "lr=1"]]),
    "a key of Hydra's": (1, [["hydra.job.chdir=false", "epochs=2"]]),
}
"""How many of the jobs Hydra composes, and their words."""


@pytest.mark.parametrize("case", JOBS)
def test_they_are_what_hydra_composes(case, configs):
    loader = GlobalHydra.instance().config_loader()
    sweep = loader.load_configuration("train", ["debug=fast"], run_mode=RunMode.MULTIRUN)
    composed = []

    def load(words):
        composed.append(words)
        return composition._load_job(loader, sweep, words)

    ours, (number, jobs) = Compositions(loader, load), JOBS[case]
    for words in jobs * 2:
        found, exact = ours.of(words), composition._load_job(loader, sweep, words)
        assert plain(found) == plain(exact)
    assert len(composed) == number


def plain(config):
    return OmegaConf.to_container(config, resolve=False)
