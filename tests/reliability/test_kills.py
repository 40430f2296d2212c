"""A run that is killed, stopped or refused a resource, and started again by the same words."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from driver import Process, await_rows, differences, kill_at, outcome, randoms, words
from entry import PROJECT, call, record, run_dirs

from deeper import checkpoint
from deeper.runs.metrics import rows
from deeper.training.module import ImageClassifier

PLACES = {
    "training": (ImageClassifier, "training_step", 3),
    "validation": (ImageClassifier, "validation_step", 1),
    "saving": (torch, "save", 3),
    "renaming": (os, "replace", 15),
}
"""Where a process is killed: within the first n calls of a function."""


def uninterrupted(images, logs, *more):
    """The outcome of a run that nothing interrupts."""
    result = call(*words(images, logs, *more))
    assert result.returncode == 0, result.stderr
    (run,) = run_dirs(logs)
    return outcome(run)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    return uninterrupted(images, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("kills", "epochs"), [(4, 4), pytest.param(25, 30, marks=pytest.mark.reliability)]
)
def test_killed_at_random_it_is_the_uninterrupted_run(images, tmp_path, kills, epochs):
    """The same words again go on; every row is there once."""
    whole = uninterrupted(images, tmp_path / "whole", f"epochs={epochs}")
    random, log, logs = randoms(kills), tmp_path / "log", tmp_path / "logs"
    given = words(images, logs, "resume=auto", f"epochs={epochs}")
    for number in range(kills):
        owner, name, calls = PLACES[[*PLACES][number % len(PLACES)]]
        place = random.randint(1, calls)
        killed = Process(*given, log=log, before=lambda: kill_at(owner, name, place))  # noqa: B023
        code = killed.wait()
        assert code == 128 + signal.SIGKILL, log.read_text()
    final = Process(*given, log=log)
    assert final.wait() == 0, log.read_text()
    runs = run_dirs(logs)
    assert len(runs) <= 2  # killed before its record was written, a run is not found again
    run = max(runs, key=lambda r: record(r)["started"])
    assert differences(whole, outcome(run)) == []
    seen = [(row["step"], "val/loss" in row) for row in rows(run)]
    assert len(seen) == len({*seen})
    assert not [p for p in run.rglob(".*") if p.is_file() and p.suffix != ".lock"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_step_and_saves(images, tmp_path, whole, number):
    log, given = (
        tmp_path / "log",
        words(images, tmp_path, "resume=auto", "callbacks.checkpoint.every_minutes=99"),
    )
    stopped = Process(
        *given, log=log, before=lambda: kill_at(ImageClassifier, "training_step", 7, number)
    )
    assert stopped.wait() == (130 if number == signal.SIGINT else 143)
    (run,) = run_dirs(tmp_path)
    said = log.read_text()
    assert f"stopped by {number.name} after step 7, which is saved" in said
    assert f"continue: python src/train.py resume={run}" in said
    assert record(run)["status"] == "interrupted"
    assert Process(*given, log=log).wait() == 0
    assert differences(whole, outcome(run)) == []


@pytest.mark.parametrize(
    ("tries", "processes"),
    [(2, 1), *(pytest.param(20, n, marks=pytest.mark.reliability) for n in (1, 2))],
)
def test_a_signal_at_any_moment(images, tmp_path, tries, processes):
    """From the outside, to the process or its whole group; of 20 also while it imports."""
    random, log = randoms(tries), tmp_path / "log"
    trainer = ["trainer=cpu"] if processes == 1 else ["trainer=ddp_cpu", "batch_size=8"]
    given = words(images, tmp_path, "resume=auto", "epochs=2000", "data.workers=2", *trainer)
    python = [sys.executable, str(PROJECT / "src/train.py"), *given]
    for number in range(tries):
        start = (lambda: None) if tries < 20 else lambda: os.execv(sys.executable, python)
        process = Process(*given, log=log, before=start)
        time.sleep(random.uniform(0.2, 8 * processes))
        asked = time.monotonic()
        (os.killpg if number % 2 else os.kill)(process.pid, signal.SIGTERM)
        assert process.wait() == 143, log.read_text()[-3000:]
        assert time.monotonic() - asked < 10
        while found := children(process.pid):
            assert time.monotonic() - asked < 10, found


def children(group: int) -> list[str]:
    """Processes of a group that are still there."""
    stats = (path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if path.exists())
    return [stat for stat in stats if stat.rpartition(")")[2].split()[2] == str(group)]


@pytest.mark.parametrize("starts", [1, pytest.param(20, marks=pytest.mark.reliability)])
def test_of_two_starts_one_trains(images, tmp_path, starts):
    """The other is refused by the lease, and every row is there once."""
    log, given = tmp_path / "log", words(images, tmp_path, "resume=auto", "epochs=2000")
    first = Process(*given, log=log)
    await_rows(tmp_path, 1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    (run,) = run_dirs(tmp_path)
    for _ in range(starts):
        both = [Process(*given, log=log) for _ in range(2)]
        end = time.monotonic() + 60
        while not (ended := [p for p in both if p.poll() is not None]) and time.monotonic() < end:
            time.sleep(0.05)
        (going,) = {*both} - {*ended}
        os.kill(going.pid, signal.SIGTERM)
        codes = [ended[0].wait(), going.wait()]
        assert codes == [2, 143], log.read_text()[-3000:]
        assert re.search(r"process \d+ on \S+ writes there since", log.read_text())
    seen = [(row["step"], "val/loss" in row) for row in rows(run)]
    assert len(seen) == len({*seen})


def test_a_job_ends_with_its_driver(images, tmp_path):
    """A multirun's driver is killed: its job saves, and ends."""
    given = words(images, tmp_path, "epochs=300", "seed=0,1")
    command = [sys.executable, str(PROJECT / "src/train.py"), "-m", *given]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    await_rows(tmp_path, 2)
    driver.kill()
    driver.wait()
    (run,) = run_dirs(tmp_path)
    end = time.monotonic() + 20
    while record(run)["status"] == "running" and time.monotonic() < end:
        time.sleep(0.1)
    assert record(run)["status"] == "interrupted"
    written = (run / "metrics.jsonl").read_bytes()
    time.sleep(1)
    assert (run / "metrics.jsonl").read_bytes() == written


@pytest.mark.reliability
@pytest.mark.parametrize("kills", [3])
def test_torchrun_goes_on_after_a_rank_was_killed(images, tmp_path, kills):
    """It starts both ranks again, and they finish the run that it would have been."""
    log, killed = tmp_path / "log", tmp_path / "killed"
    more = [
        "trainer=ddp_cpu",
        "batch_size=8",
        "data.workers=0",
        "epochs=20",
        "test=true",
        "resume=auto",
    ]
    whole = Process(*words(images, tmp_path / "whole", *more), log=log)
    assert whole.wait(300) == 0, log.read_text()[-3000:]
    start = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--max-restarts=5",
    ]
    with log.open("a") as out:
        torchrun = subprocess.Popen(
            [*start, str(PROJECT / "src/train.py"), *words(images, killed, *more)],
            stdout=out, stderr=out, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        for number in range(1, kills + 1):
            await_rows(killed, 20 * number)
            ranks = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split()
            os.kill(int(ranks[number % 2]), signal.SIGKILL)
        assert torchrun.wait(120) == 0, log.read_text()[-3000:]
    finally:
        torchrun.terminate()
    (expected,), (run,) = run_dirs(tmp_path / "whole"), run_dirs(killed)
    assert len(record(run)["starts"]) == 1 + kills
    assert differences(outcome(expected), outcome(run)) == []


@pytest.mark.parametrize("whom", ["one", "group"])
def test_two_processes_stop_together(images, tmp_path, whom):
    """A signal to rank 0 alone, or to both: both save the same step and end."""
    log = tmp_path / "log"
    given = words(
        images, tmp_path, "trainer=ddp_cpu", "epochs=300", "batch_size=8", "data.workers=0"
    )
    process = Process(*given, log=log)
    await_rows(tmp_path, 3)
    asked = time.monotonic()
    (os.killpg if whom == "group" else os.kill)(process.pid, signal.SIGTERM)
    assert process.wait() == 143, log.read_text()[-3000:]
    assert time.monotonic() - asked < 10
    (run,) = run_dirs(tmp_path)
    assert record(run)["status"] == "interrupted"
    step = int(
        re.search(r"stopped by SIGTERM after step (\d+), which is saved", log.read_text())[1]
    )
    assert checkpoint.load_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == step


def test_a_stopped_rank_ends_the_run(images, tmp_path):
    """SIGSTOP of rank 1: an error after `timeout_s`, in place of a hang."""
    log = tmp_path / "log"
    more = [
        "trainer=ddp_cpu",
        "trainer.strategy.timeout_s=30",
        "epochs=300",
        "batch_size=8",
        "data.workers=0",
    ]
    process = Process(*words(images, tmp_path, *more), log=log)
    await_rows(tmp_path, 2)
    (rank1,) = [pid for pid in group_pids(process.pid) if pid != process.pid]
    asked = time.monotonic()
    os.kill(rank1, signal.SIGSTOP)
    try:
        assert process.wait() == 1, log.read_text()[-3000:]
        assert time.monotonic() - asked < 80
        assert "another process of this training ended or does not answer" in log.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.kill(rank1, signal.SIGKILL)


def group_pids(group: int) -> list[int]:
    """Running Python processes of a group that train."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            command = (path / "cmdline").read_bytes()
            if fields[2] == str(group) and (b"train.py" in command or path.name == str(group)):
                found.append(int(path.name))
    return found
