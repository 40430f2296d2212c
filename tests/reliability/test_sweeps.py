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


def test_twelve_jobs_and_three_dead_drivers(images, tmp_path):
    code = tmp_path / "code"
    (code / "callbacks").mkdir(parents=True)
    (code / "fault.py").write_text(FAULT)
    (code / "callbacks/fault.yaml").write_text(CONFIG)
    logs = tmp_path / "logs"
    words = [
        "-m", f"--config-dir={code}", "trust=[fault]", "callbacks=fault", "model.width=0.125",
        f"callbacks.fault.kind={','.join(KINDS)}", "sweep.parallel=2", "test=false", "epochs=2",
        "trainer.max_epochs=2", *small(images, logs, "data.limit=null"),
    ]  # fmt: skip
    command = [sys.executable, str(PROJECT / "src/train.py"), *words]
    environment = os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
    for ended in (1, 4, 8):
        driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while sum(run["status"] != "running" for run in records(logs)) < ended:
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        wait_for_jobs(logs)
    last = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert last.returncode == 1, last.stderr
    folders = run_dirs(logs)
    found = {run["config"]["callbacks"]["fault"]["kind"]: run for run in map(record, folders)}
    assert sorted(found) == sorted(KINDS)
    assert len(folders) == len(KINDS)
    for kind, run in found.items():
        if kind.startswith("no"):
            assert run["status"] == "finished", kind
    assert found["diverge"]["status"] == "diverged"
    shown = " ".join(last.stdout.split())
    for cause in CAUSES.values():
        assert cause.split()[0] in shown
    assert Counter(run["status"] for run in found.values())["finished"] == 7
    for folder in folders:
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        keys = [(row.get("step"), "val/top1" in row) for row in rows]
        assert len(keys) == len({*keys}), folder


def records(logs):
    return [record(folder) for folder in run_dirs(logs)] if logs.exists() else []


def wait_for_jobs(logs):
    """Jobs end with their driver, after a save."""
    deadline = time.monotonic() + 60
    while any((folder / "lease.json").exists() for folder in run_dirs(logs)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
