"""Seconds until a command answers, and until a training has done its first step."""

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Contest, Figure, Pass
from deeper.config.groups import PROJECT

COMMANDS = {
    "--help": ["--help"],
    "a mistake that Hydra sees": ["optimizer=nope"],
    "a wrong value of a class's argument": ["+model.head.dropuot=0.5"],
    "--cfg job": ["--cfg", "job"],
}
FIGURES = [
    Figure("seconds of --help", "--help", at_most=0.5),
    Figure("seconds of a mistake that Hydra sees", "a mistake that Hydra sees", at_most=1.2),
    Figure("seconds of a wrong value of a class's argument", "a wrong value of a class's argument", at_most=2.5),
]  # fmt: skip


def contests(setting: Setting) -> Iterator[Contest]:
    logs, data = setting.scratch / "logs", setting.scratch / "data"
    words = [
        f"paths.logs={logs}", f"paths.data={data}", f"paths.cache={setting.scratch / 'cache'}",
        f"trainer={setting.trainer}", "trainer.log_every_n_steps=1",
    ]  # fmt: skip
    passes: dict[str, Pass] = {name: partial(answer, command) for name, command in COMMANDS.items()}
    passes["first training step"] = partial(first_step, words, logs)
    yield Contest("train.py, from its start", passes, "ms", figures=FIGURES)


def answer(words: list[str]) -> None:
    subprocess.run([sys.executable, str(PROJECT / "src/train.py"), *words], capture_output=True)


def first_step(words: list[str], logs: Path) -> float:
    """Seconds until a new run's metrics.jsonl has a row; the run is then ended."""
    before, start = {*logs.rglob("metrics.jsonl")}, time.perf_counter()
    command = [sys.executable, str(PROJECT / "src/train.py"), *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not any(f.stat().st_size for f in {*logs.rglob("metrics.jsonl")} - before):
            if process.poll() is not None:
                raise RuntimeError(f"the training ended: {process.stderr.read().decode()}")  # type: ignore[union-attr]
            time.sleep(0.01)
        taken = time.perf_counter() - start
        process.kill()
    return taken
