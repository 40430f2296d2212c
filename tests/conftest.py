"""Shared fixtures: a small data set, composed configs, a trained run, a training in this process."""

import os
from pathlib import Path

import pytest
import torch
from entry import PROJECT, call, run_dirs, small
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from deeper.cli import resolvers
from deeper.config import schema
from deeper.data.sources.synthetic import generate

torch.set_num_threads(1)  # more threads would wait for one another on a shared machine
schema.register_schemas()
resolvers.register_resolvers()


@pytest.fixture(scope="session", autouse=True)
def unsynced():
    """Nothing waits for the disk: that changes nothing unless the power is cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes of 8 training and 5 test images: 50 test images divide by few batch sizes."""
    root = tmp_path_factory.mktemp("data") / "images"
    generate(root, train_per_class=8, val_per_class=5)
    return root


@pytest.fixture(scope="session")
def trained_run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of one epoch, for tests that change nothing in it."""
    logs = tmp_path_factory.mktemp("trained_run")
    return trained(logs, *small(images, logs, "model.width=0.125", "test=false"))


@pytest.fixture
def configs():
    """`configs("recipe=paper", …)` composes train.yaml as the command line would."""
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None  # of a run in this process
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        yield lambda *overrides, name="train", **options: compose(name, [*overrides], **options)


@pytest.fixture
def train(images: Path, tmp_path: Path):
    """`train("experiment=no_aux")` runs src/train.py in this process and returns its run directory."""

    def run(*words: str) -> Path:
        defaults = [word for word in small(images, tmp_path) if not _given(word, words)]
        return trained(tmp_path, *defaults, *words)

    return run


def trained(logs: Path, *words: str) -> Path:
    """The run directory that a training in this process leaves below `logs`."""
    before = set(run_dirs(logs))
    result = call(*words, HYDRA_FULL_ERROR="1")  # a refusal is the exception that it is made of
    (new,) = set(run_dirs(logs)) - before
    print(result.stdout, end="")
    return new


def _given(word: str, words: tuple[str, ...]) -> bool:
    return any(w.partition("=")[0] == word.partition("=")[0] for w in words)


@pytest.fixture
def refused():
    """`refused("lr=-1")` is the message with which src/train.py, in this process, refuses a mistake."""

    def run(*words: str, script: str = "train") -> str:
        result = call(*words, script=script)
        assert result.returncode == 2, result.stderr
        assert "Traceback" not in result.stderr
        return result.stderr.strip()

    return run
