"""One process writes to a run directory."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deeper.callbacks.lease import LeaseGuard
from deeper.runs import lease as leases
from deeper.runs.lease import FILE, Lease, LeaseLost

HOLDER = """
import sys, time
from pathlib import Path
from deeper.runs.lease import Lease
Lease.acquire(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lease."""
    source = str(Path(leases.__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": source},
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_living_holder_refuses_and_a_dead_one_is_followed(tmp_path, holder):
    since = json.loads((tmp_path / FILE).read_text())["since"]
    for _ in range(20):
        with pytest.raises(
            ValueError, match=rf"process {holder.pid} on .+ writes there since {re.escape(since)}"
        ):
            Lease.acquire(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    started = time.monotonic()
    lease = Lease.acquire(tmp_path)
    assert time.monotonic() - started < 1
    assert lease.is_held()
    lease.release()
    assert not list(tmp_path.iterdir())


def elsewhere(path: Path) -> None:
    """The lease as if its holder were on another machine."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"host": "node7", "place": ["node7", "b", "4"]}))


def test_a_holder_on_another_machine_is_waited_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(leases, "EXPIRY_S", 1.0)
    monkeypatch.setattr(leases, "HEARTBEAT_S", 0.1)
    first = Lease.acquire(tmp_path)
    elsewhere(tmp_path / FILE)
    with pytest.raises(ValueError, match=r"process \d+ on node7 writes there since"):
        Lease.acquire(tmp_path)
    assert "waiting 1 s for a sign of life of process" in capsys.readouterr().out
    first._ended.set()  # it dies
    time.sleep(0.2)
    second = Lease.acquire(tmp_path)
    assert second.is_held()
    assert not first.is_held()
    with pytest.raises(LeaseLost, match="another process has taken this run over"):
        LeaseGuard(first).on_train_batch_end()
    LeaseGuard(second).on_train_batch_end()
    second.release()


def test_a_damaged_lease_is_nobodys(tmp_path):
    (tmp_path / FILE).write_text('{"pid": 1')
    Lease.acquire(tmp_path).release()


def test_a_process_that_runs_several_trainings_follows_itself(tmp_path):
    first = Lease.acquire(tmp_path)
    second = Lease.acquire(tmp_path)
    assert second.is_held()
    first.release()
    assert second.is_held()
    second.release()
