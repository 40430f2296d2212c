"""Entry points in this process: a refusal needs no interpreter of its own."""

import importlib
import logging
import sys
from dataclasses import dataclass

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from deeper.cli import main as command_line
from deeper.runs import directory


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
