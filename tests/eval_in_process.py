"""src/eval.py in the process of a test."""

import importlib
import json
import sys
from pathlib import Path

import pytest
from entry import run_dirs
from hydra.core.global_hydra import GlobalHydra

from deeper.runs import directory


def evaluate(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> dict:
    """What src/eval.py wrote; logs and cache lie in `folder`."""
    logs = folder / "evaluated"
    entry = importlib.import_module("eval")
    shared = ["trainer=cpu", "precision=fp32", f"paths.logs={logs}", f"paths.cache={folder}/c"]
    monkeypatch.setattr(sys, "argv", ["src/eval.py", *shared, *words])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    before = set(run_dirs(logs))
    GlobalHydra.instance().clear()
    directory._stamp.cache_clear()
    entry.main()
    (new,) = set(run_dirs(logs)) - before
    return json.loads((new / f"{new.name}.json").read_text())
