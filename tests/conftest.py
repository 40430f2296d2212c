"""Small data on disk, composed configs, and the entry points as a shell would start them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from deeper.config import resolvers, schema
from deeper.data.synthetic import generate

PROJECT = Path(__file__).resolve().parents[1]
RECIPES = sorted(p.stem for p in (PROJECT / "configs/recipe").glob("[!_]*.yaml"))
EXPERIMENTS = sorted(p.stem for p in (PROJECT / "configs/experiment").glob("[!_]*.yaml"))

torch.set_num_threads(2)
schema.register()
resolvers.register()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes of 8 training and 5 test images: 50 of the latter divide by few batch sizes."""
    root = tmp_path_factory.mktemp("data") / "images"
    generate(root, train_per_class=8, val_per_class=5)
    return root


@pytest.fixture
def configs():
    """`configs("recipe=paper", …)` composes train.yaml as the command line would."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        yield lambda *overrides, name="train", **options: compose(name, [*overrides], **options)


def small(images: Path, logs: Path, *more: str) -> list[str]:
    """Overrides of a run that takes seconds."""
    return [f"data.root={images}", f"paths.logs={logs}", "debug=fast", "precision=fp32", *more]


def shell(
    *words: str, script: str = "train", **environment: str
) -> subprocess.CompletedProcess[str]:
    """`python src/<script>.py <words>`, from another folder, without a terminal or a W&B key."""
    return command(sys.executable, str(PROJECT / f"src/{script}.py"), *words, **environment)


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "HYDRA", "SLURM"))}
    clean |= {"OMP_NUM_THREADS": "1", "HOME": "/nonexistent", "COLUMNS": "200"} | environment
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        env=clean,
        cwd="/",
        stdin=subprocess.DEVNULL,
        timeout=600,
    )


def run_dirs(logs: Path) -> list[Path]:
    return sorted(path.parent for path in logs.rglob("run.json"))


def record(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())


@pytest.fixture
def train(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`train("experiment=no_aux")` runs src/train.py in this process and answers its run directory."""

    def run(*words: str) -> Path:
        import importlib

        entry = importlib.import_module("train")
        overrides = [word for word in small(images, tmp_path) if not _given(word, words)]
        monkeypatch.setattr(sys, "argv", ["src/train.py", *overrides, *words])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        before = set(run_dirs(tmp_path))
        resolvers.runs._stamp.cache_clear()
        entry.main()
        (new,) = set(run_dirs(tmp_path)) - before or {next(iter(before))}
        return new

    return run


def _given(word: str, words: tuple[str, ...]) -> bool:
    return any(w.partition("=")[0] == word.partition("=")[0] for w in words)
