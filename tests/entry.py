"""The entry points, started in this process or as a shell would, and what they leave."""

import importlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

PROJECT = Path(__file__).resolve().parents[1]
RECIPES = sorted(p.stem for p in (PROJECT / "configs/recipe").glob("[!_]*.yaml"))
EXPERIMENTS = sorted(p.stem for p in (PROJECT / "configs/experiment").glob("[!_]*.yaml"))

TAKE_FILES = ("eval", "predict", "report", "dashboard", "runs")


def small(images: Path, logs: Path, *more: str) -> list[str]:
    """Overrides of a run that takes seconds."""
    return [f"data.root={images}", f"paths.logs={logs}", "debug=fast", "precision=fp32", *more]


def call(
    *words: str, script: str = "train", **environment: str
) -> subprocess.CompletedProcess[str]:
    """As `shell`, in this process: seconds faster, since torch is loaded already.

    A crash raises here; a refusal is an exit status and a message, as in a shell.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    from deeper.cli import main as cli
    from deeper.runs import directory

    out, err, code = io.StringIO(), io.StringIO(), 0
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None  # type: ignore[assignment]
    directory._stamp.cache_clear()
    directory.settle()
    argv = [str(PROJECT / f"src/{script}.py"), *words]
    pipe = signal.getsignal(signal.SIGPIPE)
    try:
        with (
            mock.patch.object(sys, "argv", argv),
            mock.patch.dict(os.environ, _environment() | environment, clear=True),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            cli.start(importlib.import_module(script).main, files=script in TAKE_FILES)
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        signal.signal(signal.SIGPIPE, pipe)
        for handler in logging.root.handlers[:]:  # Hydra's, to a log file that may be gone
            if isinstance(handler, logging.FileHandler):
                logging.root.removeHandler(handler)
                handler.close()
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None  # type: ignore[assignment]
    return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())


def shell(
    *words: str, script: str = "train", **environment: str
) -> subprocess.CompletedProcess[str]:
    """`python src/<script>.py <words>`, from another folder, without a terminal or a W&B key."""
    return command(sys.executable, str(PROJECT / f"src/{script}.py"), *words, **environment)


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        env=_environment() | environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        timeout=600,
    )


def _environment() -> dict[str, str]:
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("WANDB", "HYDRA", "DEEPER", "SLURM"))
    }
    return clean | {"OMP_NUM_THREADS": "1", "HOME": "/nonexistent", "COLUMNS": "200"}


def run_dirs(logs: Path) -> list[Path]:
    return sorted(path.parent for path in logs.rglob("run.json"))


def record(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())


def rows(run: Path) -> list[dict]:
    """The rows of metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def hear_ctrl_c() -> None:
    """Run in a child before it starts: background jobs of a shell ignore SIGINT, and so do theirs."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
