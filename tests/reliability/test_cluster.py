"""On a SLURM cluster of at least two nodes that this machine can submit to: SLURM_CONF says which."""

import os
import shutil
import subprocess
import sys
import time

import pytest
from driver import await_rows, differences, outcome, words
from entry import PROJECT, record, rows, run_dirs

from deeper.sweep.slurm import job_name

TRAIN = [sys.executable, str(PROJECT / "src/train.py")]
SLURM = ("-m", "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1")


def idle_nodes() -> int:
    if not shutil.which("sinfo"):
        return 0
    asked = ["sinfo", "--noheader", "--Node", "--states=idle"]
    return len(subprocess.run(asked, capture_output=True, text=True).stdout.splitlines())


pytestmark = [
    pytest.mark.reliability,
    pytest.mark.skipif(idle_nodes() < 2, reason="no SLURM cluster with two idle nodes here"),
]


def jobs(name: str = "") -> list[str]:
    """Numbers of this user's jobs, of one name or of all."""
    asked = ["squeue", "--me", "--noheader", "--format=%i", *([f"--name={name}"] if name else [])]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start(*given: str) -> subprocess.Popen:
    return subprocess.Popen([*TRAIN, *given], env=ENVIRONMENT, stdin=subprocess.DEVNULL)


def across_two_nodes(*given: str) -> subprocess.CompletedProcess[str]:
    step = ["srun", "--nodes=2", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    two = ["trainer=ddp_cpu", "trainer.devices=1", "trainer.num_nodes=2"]
    return subprocess.run(
        [*step, *TRAIN, *given, *two], env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )


def test_a_requeued_job_ends_as_if_it_had_not_been(images, tmp_path):
    long = words(images, tmp_path / "slurm", "epochs=12")
    driver = start(*SLURM, *long, "seed=5")
    run = await_rows(tmp_path / "slurm", 8)
    (number,) = jobs(job_name(run))
    subprocess.run(["scontrol", "requeue", number], check=True)
    assert driver.wait(300) == 0
    assert len(record(run)["starts"]) == 2
    plain = start(*words(images, tmp_path / "plain", "epochs=12"), "seed=5")
    assert plain.wait(300) == 0
    (whole,) = run_dirs(tmp_path / "plain")
    assert differences(outcome(whole), outcome(run)) == []


def test_four_jobs_and_a_node_that_fails(images, tmp_path):
    given = [*SLURM, *words(images, tmp_path, "epochs=8"), "seed=0,1,2,3"]
    driver = start(*given)
    await_rows(tmp_path, 4)
    down = ["scontrol", "update", "nodename=n2"]
    subprocess.run([*down, "state=down", "reason=test"], check=True)
    time.sleep(5)
    subprocess.run([*down, "state=resume"])  # an error where it has come back by itself
    assert driver.wait(600) == 0
    found = run_dirs(tmp_path)
    assert len(found) == 4
    assert {record(run)["status"] for run in found} == {"finished"}
    for run in found:
        steps = [row["step"] for row in rows(run) if "train/loss" in row]
        assert steps == sorted(set(steps))


def test_a_killed_driver_finds_its_jobs(images, tmp_path):
    given = [*SLURM, *words(images, tmp_path, "epochs=6"), "seed=0,1"]
    driver = start(*given)
    await_rows(tmp_path, 2)
    driver.kill()
    driver.wait()
    before = jobs()
    assert before
    again = start(*given)
    assert again.wait(300) == 0
    assert [len(record(run)["starts"]) for run in run_dirs(tmp_path)] == [1, 1]


def test_two_nodes_are_as_two_processes(images, tmp_path):
    done = across_two_nodes(*words(images, tmp_path / "two", "averaging=none"))
    assert done.returncode == 0, done.stderr
    one = start(*words(images, tmp_path / "one", "trainer=ddp_cpu", "averaging=none"))
    assert one.wait(300) == 0
    (two,), (alone,) = run_dirs(tmp_path / "two"), run_dirs(tmp_path / "one")
    for a, b in zip(rows(two), rows(alone), strict=True):
        for name in a.keys() & {"train/loss", "val/loss", "val/top1"}:
            assert a[name] == pytest.approx(b[name], rel=1e-6), a["step"]


def test_a_refusal_of_one_process_ends_all(images, tmp_path):
    begun = time.monotonic()
    done = across_two_nodes(*words(images, tmp_path, "resume=/nowhere"))
    assert done.returncode in (2, 143)  # of the process that was ended
    assert "/nowhere: no such run directory" in done.stderr
    assert time.monotonic() - begun < 60
