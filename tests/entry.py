"""The entry points as a shell would start them, and what they leave."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
RECIPES = sorted(p.stem for p in (PROJECT / "configs/recipe").glob("[!_]*.yaml"))
EXPERIMENTS = sorted(p.stem for p in (PROJECT / "configs/experiment").glob("[!_]*.yaml"))


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


def rows(run: Path) -> list[dict]:
    """Of metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def hear_ctrl_c() -> None:
    """In a child, before it starts: a shell's background jobs, and theirs, are told to ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
