"""hydra/launcher=slurm over stand-ins for sbatch, squeue and scancel; `pytest -m reliability` has a cluster."""

import os
import stat

import pytest
from entry import record, run_dirs, shell, small
from omegaconf import OmegaConf

from deeper.config.errors import ConfigError
from deeper.sweep.slurm import job_name, resources

SBATCH = """#!/bin/bash
# Runs the job at once, as SLURM would with a free node, and says its number.
cd "$(dirname "$0")/jobs" || exit 1
for word in "$@"; do
  case $word in
    --output=*) log=${word#*=} ;; --job-name=*) name=${word#*=} ;; --wrap=*) script=${word#*=} ;;
    --partition=none) echo "invalid partition specified: none" >&2; exit 1 ;;
  esac
done
number=$(( $(ls | wc -l) + 1 ))
echo "$@" > "$number.asked"
( setsid bash -c "$script" >> "$log" 2>&1; mv "$number.asked" "$number.ended" ) > /dev/null 2>&1 &
echo "$name" >> "$number.asked"
echo "$number;cluster"
"""
SQUEUE = """#!/bin/bash
cd "$(dirname "$0")/jobs" || exit 1
for job in *.asked; do [ -e "$job" ] && echo "${job%.asked} $(tail -n 1 "$job")"; done
exit 0
"""
SRUN = """#!/bin/bash
shift
exec "$@"
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The folder of the stand-ins, in which `jobs` has a file for each job."""
    bin = tmp_path / "bin"
    (bin / "jobs").mkdir(parents=True)
    for name, script in {"sbatch": SBATCH, "squeue": SQUEUE, "srun": SRUN}.items():
        (bin / name).write_text(script)
        (bin / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{bin}{os.pathsep}{os.environ['PATH']}")
    return bin


def test_jobs_go_through_sbatch(images, tmp_path, cluster):
    words = ["-m", "hydra/launcher=slurm", "hydra.launcher.time=1:00:00", "hydra.launcher.cpus_per_task=2",
             "seed=0,1", "trainer=cpu", "model.width=0.125", *small(images, tmp_path / "logs")]  # fmt: skip
    done = shell(*words)
    assert done.returncode == 0, done.stderr
    found = run_dirs(tmp_path / "logs")
    assert [record(run)["status"] for run in found] == ["finished"] * 2
    asked = [(cluster / "jobs" / f"{n}.ended").read_text() for n in (1, 2)]
    for run in found:
        (one,) = [text for text in asked if f"--job-name={job_name(run)} " in text]
        for option in ("--nodes=1", "--ntasks-per-node=1", "--requeue", "--signal=USR1@120",
                       "--time=1:00:00", "--cpus-per-task=2", f"--output={run / 'job.log'}"):  # fmt: skip
            assert option in one
        assert "gpus" not in one
    again = shell(*words)
    assert again.returncode == 0, again.stderr
    assert "2 of them done before" in again.stdout
    assert len([*(cluster / "jobs").iterdir()]) == 2


def test_what_sbatch_refuses_is_said(images, tmp_path, cluster):
    words = ["-m", "hydra/launcher=slurm", "hydra.launcher.partition=none", "seed=0,1",
             "trainer=cpu", *small(images, tmp_path / "logs")]  # fmt: skip
    done = shell(*words)
    assert done.returncode == 1
    assert "job 0 failed: invalid partition specified: none" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("trainer", "options"),
    [
        ({"accelerator": "cpu", "devices": 2}, ["--nodes=1", "--ntasks-per-node=2"]),
        (
            {"accelerator": "gpu", "devices": 4, "num_nodes": 2},
            ["--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4"],
        ),
        (
            {"accelerator": "gpu", "devices": [0, 1]},
            ["--nodes=1", "--ntasks-per-node=2", "--gpus-per-node=2"],
        ),
    ],
)
def test_resources_are_those_of_the_trainer(trainer, options):
    assert resources(OmegaConf.create(trainer)) == options


@pytest.mark.parametrize("trainer", [("gpu", "auto"), ("auto", 1)])
def test_what_a_job_needs_must_be_said(trainer):
    accelerator, devices = trainer
    message = "pass trainer=gpu, trainer=cpu, or trainer=ddp with the number"
    with pytest.raises(ConfigError, match=message):
        resources(OmegaConf.create({"accelerator": accelerator, "devices": devices}))
