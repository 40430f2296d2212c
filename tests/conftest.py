"""Small data on disk, composed configs, and training in this process."""

import importlib
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from entry import PROJECT, run_dirs, shell, small
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from deeper.cli import main as command_line
from deeper.cli import resolvers
from deeper.config import schema
from deeper.data.sources.synthetic import generate
from deeper.runs import directory

torch.set_num_threads(1)  # two would wait for one another wherever the machine is shared
schema.register()
resolvers.register()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes of 8 training and 5 test images: 50 of the latter divide by few batch sizes."""
    root = tmp_path_factory.mktemp("data") / "images"
    generate(root, train_per_class=8, val_per_class=5)
    return root


@pytest.fixture(scope="session")
def trained_run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of one epoch; for tests that change nothing."""
    logs = tmp_path_factory.mktemp("trained_run")
    words = ["model.width=0.125", "test=false"]
    result = shell(*small(images, logs, *words))
    assert result.returncode == 0, result.stderr
    (run,) = run_dirs(logs)
    return run


@pytest.fixture
def configs():
    """`configs("recipe=paper", …)` composes train.yaml as the command line would."""
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None  # of a run in this process
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        yield lambda *overrides, name="train", **options: compose(name, [*overrides], **options)


@pytest.fixture
def train(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`train("experiment=no_aux")` runs src/train.py in this process and answers its run directory."""

    def run(*words: str) -> Path:
        entry = importlib.import_module("train")
        overrides = [word for word in small(images, tmp_path) if not _given(word, words)]
        monkeypatch.setattr(sys, "argv", ["src/train.py", *overrides, *words])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        before = set(run_dirs(tmp_path))
        GlobalHydra.instance().clear()  # of the fixture that composes
        directory._stamp.cache_clear()
        entry.main()
        (new,) = set(run_dirs(tmp_path)) - before or {next(iter(before))}
        return new

    return run


def _given(word: str, words: tuple[str, ...]) -> bool:
    return any(w.partition("=")[0] == word.partition("=")[0] for w in words)


@dataclass
class Answer:
    code: int
    err: str


@pytest.fixture
def say(monkeypatch, capsys):
    """`say("lr=-1")` is src/train.py in this process: its exit code and what it said on stderr."""

    def run(*words: str, script: str = "train") -> Answer:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None
        directory._stamp.cache_clear()
        directory._made.clear()
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        monkeypatch.setattr(sys, "argv", [f"src/{script}.py", *words])
        entry = importlib.import_module(script)
        try:
            command_line.start(entry.main, files=script in ("eval", "predict"))
        except SystemExit as end:
            return Answer(end.code, capsys.readouterr().err)
        return Answer(0, capsys.readouterr().err)

    yield run
    for handler in logging.root.handlers[:]:  # of the log file of the last run
        if isinstance(handler, logging.FileHandler):
            logging.root.removeHandler(handler)


@pytest.fixture
def refused(say):
    """As `say`, for a mistake: what is said of it."""

    def run(*words: str, script: str = "train") -> str:
        answer = say(*words, script=script)
        assert answer.code == 2, answer.err
        assert "Traceback" not in answer.err
        return answer.err.strip()

    return run
