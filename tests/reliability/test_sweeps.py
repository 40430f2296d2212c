"""Multiruns whose jobs fail in every way, and whose driver is killed: the same command ends them all."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from entry import PROJECT, record, run_dirs, small

from deeper.runs.lease import is_held

pytestmark = pytest.mark.reliability

FAULT = """
import os
import lightning as L

class Fault(L.Callback):
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step != 2:
            return
        if self.kind == "raise":
            raise RuntimeError("as asked")
        if self.kind == "exit":
            raise SystemExit()
        if self.kind == "kill":
            os.kill(os.getpid(), 9)
        if self.kind == "memory":
            raise MemoryError
        if self.kind == "diverge":
            for parameter in module.parameters():
                parameter.data.fill_(float("nan"))
"""
CONFIG = "fault:\n  _target_: fault.Fault\n  kind: none\n"
KINDS = [*(f"no{number}" for number in range(7)), "raise", "exit", "kill", "memory", "diverge"]
CAUSES = {
    "raise": "RuntimeError: as asked", "exit": "SystemExit", "kill": "signal 9",
    "memory": "out of memory",
}  # fmt: skip


@pytest.fixture
def start(images, tmp_path):
    """Starts a multirun of jobs that may fail; `start(words)` answers its driver."""
    code = tmp_path / "code"
    (code / "callbacks").mkdir(parents=True)
    (code / "fault.py").write_text(FAULT)
    (code / "callbacks/fault.yaml").write_text(CONFIG)
    environment = os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}

    def driver(*words):
        given = [
            "-m", f"--config-dir={code}", "trust=[fault]", "callbacks=fault", "model.width=0.125",
            "sweep.parallel=2", "test=false", "epochs=2", "trainer.max_epochs=2", *words,
            *small(images, tmp_path / "logs", "data.limit=null"),
        ]  # fmt: skip
        return subprocess.Popen(
            [sys.executable, str(PROJECT / "src/train.py"), *given],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    return driver


def kill_three_times(start, logs, words, ended=(1, 4, 8)):
    """The driver dies when so many jobs have ended."""
    for number in ended:
        driver = start(*words)
        deadline = time.monotonic() + 300
        while sum(run["status"] != "running" for run in records(logs)) < number:
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        wait_for_jobs(logs)


def test_twelve_jobs_and_three_dead_drivers(start, tmp_path):
    logs = tmp_path / "logs"
    words = [f"callbacks.fault.kind={','.join(KINDS)}"]
    kill_three_times(start, logs, words)
    last = start(*words)
    printed, _ = last.communicate()
    assert last.returncode == 1, printed
    folders = run_dirs(logs)
    found = {run["config"]["callbacks"]["fault"]["kind"]: run for run in map(record, folders)}
    assert sorted(found) == sorted(KINDS)
    assert len(folders) == len(KINDS)
    for kind, run in found.items():
        if kind.startswith("no"):
            assert run["status"] == "finished", kind
    assert found["diverge"]["status"] == "diverged"
    shown = " ".join(printed.split())
    for cause in CAUSES.values():
        assert cause.split()[0] in shown
    assert Counter(run["status"] for run in found.values())["finished"] == 7
    for folder in folders:
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        keys = [(row.get("step"), "val/top1" in row) for row in rows]
        assert len(keys) == len({*keys}), folder


def test_a_search_of_twelve_trials_and_three_dead_drivers(start, tmp_path):
    optuna = pytest.importorskip("optuna")
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    logs = tmp_path / "logs"
    words = [
        "sweep=optuna", "hydra.sweeper.search.trials=12", "hydra.sweeper.search.prune=false",
        "lr=interval(0.001,0.1)", f"callbacks.fault.kind=no0,no1,{','.join([*CAUSES, 'diverge'])}",
    ]  # fmt: skip
    kill_three_times(start, logs, words, ended=(1, 3, 6))
    last = start(*words)
    printed, _ = last.communicate()
    (journal,) = logs.rglob("optuna.journal")
    storage = JournalStorage(JournalFileBackend(str(journal)))
    (summary,) = optuna.get_all_study_summaries(storage)
    trials = optuna.load_study(study_name=summary.study_name, storage=storage).trials
    assert len(trials) == 12, printed
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    assert len({trial.params["lr"] for trial in trials}) == 12
    runs = [record(folder) for folder in run_dirs(logs)]
    assert len({run["config"]["optimizer"]["lr"] for run in runs}) == len(runs) <= 12
    assert last.returncode == (1 if any(run["status"] == "failed" for run in runs) else 0)


def records(logs):
    return [record(folder) for folder in run_dirs(logs)] if logs.exists() else []


def wait_for_jobs(logs):
    """Jobs end with their driver, after a save."""
    deadline = time.monotonic() + 60
    while any(is_held(folder) for folder in run_dirs(logs)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
