"""W&B: no network, a killed wandb-core, and a server that has some rows already."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import wandb
from entry import PROJECT, record, rows, run_dirs, small
from tiny_fit import data, module, trainer

from deeper.loggers.jsonl import MetricsFile
from deeper.loggers.mirror import mirrors
from deeper.loggers.wandb import Wandb

linux = pytest.mark.skipif(sys.platform != "linux", reason="finds wandb-core in /proc")


class Server:
    """A run at a server that has `starting_step` rows of it."""

    def __init__(self, folder: Path, starting_step: int) -> None:
        self.starting_step, self.dir, self.logged = starting_step, str(folder / "files"), []

    def log(self, row):
        self.logged.append(row["trainer/global_step"])


def logger(run: Path, **options) -> Wandb:
    settings = {"mode": "offline", "project": "p", "name": "n", "id": "x", "group": None}
    return Wandb(save_dir=str(run), **settings | options)


@pytest.mark.parametrize(
    ("known", "sent"), [(0, [1, 2, 3, 4, 5]), (2, [3, 4, 5]), (3, [4, 5]), (4, [5])]
)
def test_a_server_gets_each_row_once(tmp_path, known, sent):
    """The run continues from row 3; a server that was ahead of the checkpoint has the next ones too."""
    mirror = logger(tmp_path)
    mirror._experiment = server = Server(tmp_path / "wandb/run-1-x", known)
    mirror.rebuild([(step, {"a": 0.0}) for step in (1, 2, 3)])
    for step in (4, 5):
        mirror.log_metrics({"a": 0.0}, step)
    assert server.logged == sent


def test_offline_files_of_earlier_starts_go_unless_they_were_synced(tmp_path):
    folders = [tmp_path / f"wandb/{n}" for n in ("offline-run-1-x", "offline-run-2-x", "run-3-x")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "run-x.wandb").touch()
    (folders[0] / "run-x.wandb.synced").touch()
    mirror = logger(tmp_path)
    mirror._experiment = Server(tmp_path / "wandb/offline-run-4-x", 0)
    mirror.rebuild([])
    assert [folder.exists() for folder in folders] == [True, False, True]


def test_a_key_without_a_network_records_offline(tmp_path, monkeypatch, capsys):
    wandb.teardown()  # it has read the environment once
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")  # where nobody listens
    mirror = logger(tmp_path, mode="auto")
    assert mirror._wandb_init["mode"] == "offline"
    wandb.teardown()
    assert "W&B: no connection to http://127.0.0.1:1, so this run is" in capsys.readouterr().out


def kill_wandb_core(parent: int) -> None:
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if "wandb-core" in Path(f"/proc/{child}/comm").read_text():
            os.kill(int(child), signal.SIGKILL)


class Kill(L.Callback):
    """After the last row of a training, which is then finished."""

    def on_train_end(self, trainer, pl_module):
        kill_wandb_core(os.getpid())


@linux
def test_wandb_core_killed_at_the_end_is_said_in_a_line(tmp_path, capsys):
    (mirror,) = mirrors({"wandb": logger(tmp_path)}, tmp_path)
    trainer(Kill(), logger=[MetricsFile(tmp_path), mirror]).fit(module(), data())
    said = capsys.readouterr().out
    assert said.count("logger.wandb is off for the rest of this run (") == 1
    assert len(rows(tmp_path)) == 2


@linux
def test_wandb_core_killed_within_a_training_does_not_end_it(images, tmp_path):
    words = small(images, tmp_path, "model.width=0.125", "epochs=3", "test=false")
    start = subprocess.Popen(
        [sys.executable, str(PROJECT / "src/train.py"), *words, "logger=[csv,wandb]"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert start.stdout is not None
    try:
        for line in start.stdout:
            if line.startswith("epoch 1/3"):
                break
        kill_wandb_core(start.pid)
        out, err = start.communicate(timeout=60)
    finally:
        start.kill()
        start.communicate()
    assert (start.returncode, err) == (0, "")
    assert out.count("logger.wandb is off for the rest of this run (") == 1
    (run,) = run_dirs(tmp_path)
    assert record(run)["status"] == "finished"
    assert [row["step"] for row in rows(run) if "train/loss" in row] == [*range(1, 10)]
