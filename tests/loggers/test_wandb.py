"""W&B: no network, a killed wandb-core, and a server that has some rows already."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import lightning as L
import pytest
import wandb
import yaml
from entry import PROJECT, record, rows, run_dirs, small
from mirror_rows import wandb_rows
from tiny_fit import data, module, trainer

from deeper.loggers.jsonl import MetricsFile
from deeper.loggers.mirror import Row, mirrors
from deeper.loggers.wandb import VARIABLES, Wandb

linux = pytest.mark.skipif(sys.platform != "linux", reason="finds wandb-core in /proc")


class Server:
    """A run at a server that has `starting_step` rows of it."""

    def __init__(self, folder: Path, starting_step: int) -> None:
        self.starting_step, self.dir, self.logged = starting_step, str(folder / "files"), []
        self.id = "x"

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
    mirror.rebuild([Row(step, {"a": 0.0}, []) for step in (1, 2, 3)])
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
    assert "W&B: no answer from http://127.0.0.1:1, so this run is" in capsys.readouterr().out


class Refusing(BaseHTTPRequestHandler):
    """Answers, and takes nothing."""

    def do_GET(self):
        self.send_error(404)

    do_POST = do_GET

    def log_message(self, *_):
        """Nothing."""


@pytest.mark.parametrize("answers", [False, True])
def test_a_server_that_takes_no_run_costs_half_a_minute(tmp_path, monkeypatch, capsys, answers):
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        if answers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        wandb.teardown()
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        began = time.monotonic()
        mirror = logger(tmp_path, mode="auto")
        mirror.log_metrics({"a": 1.0}, 1)
        assert time.monotonic() - began < 30
        wandb.finish()
        wandb.teardown()
        if answers:
            server.shutdown()
    assert capsys.readouterr().out.count("so this run is recorded offline") == 1
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert kept.stat().st_size > 0


def test_without_a_key_a_terminal_is_asked_nothing(tmp_path):
    """On a terminal W&B itself would wait for a choice."""
    code = f"""
from deeper.loggers.wandb import Wandb
logger = Wandb(project="p", id="x", save_dir={str(tmp_path)!r})
logger.log_metrics({{"a": 1.0}}, 1)
"""
    main, terminal = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal,
        env=clean | {"HOME": str(tmp_path), "PYTHONPATH": str(PROJECT / "src")},
    ) as start:  # fmt: skip
        os.close(terminal)
        try:
            assert start.wait(timeout=300) == 0
        finally:
            start.kill()
    said = os.read(main, 10_000).decode()
    os.close(main)
    assert said.startswith("W&B: no key found, so this run is recorded offline")
    assert said.count("\n") == 1
    assert wandb_rows(tmp_path) == [{"step": 1, "a": 1.0}]


RECORD = {
    "config": {"name": "no_aux", "data": {"source": {"_target_": "x.Synthetic"}}, "lr": 0.1},
    "recipe": "paper", "experiments": ["no_aux"], "identity": "0123456789ab", "cell": "c", "data": "d", "seed": 1,
    "precision": {"used": "fp32"}, "overrides": ["experiment=no_aux", "note=a b"],
    "starts": ["2026-01-02T03:04:05+00:00"],
}  # fmt: skip


def test_what_a_run_is_called(tmp_path, monkeypatch):
    def called(record, run="0123456789ab", **options):
        mirror = Wandb("offline", project="p", save_dir=str(tmp_path / run), **options)
        mirror.log_facts(RECORD | record)
        names = ("id", "name", "group", "job_type", "tags", "notes")
        return [mirror._wandb_init[name] for name in names]

    tags = ["paper", "no_aux", "synthetic", "fp32"]
    command = "python src/train.py experiment=no_aux 'note=a b'"
    single = "2026-01-02_03-04-05-678_no_aux"
    assert called({}, single) == [single, "no_aux-s1", None, "train", tags, command]
    job = {"sweep": "lr-12", "job": "lr=0.1"}
    of_job = ["0123456789ab-20260102030405", "lr=0.1", "lr-12", "train", tags, command]
    assert called(job) == of_job
    given = {"id": "1", "name": "2", "group": "3", "job_type": "4", "notes": "5"}
    assert called(job, **given, tags=["6"]) == ["1", "2", "3", "4", [*tags, "6"], "5"]
    for variable in VARIABLES.values():  # what the user says to W&B counts
        monkeypatch.setenv(variable, "theirs")
    assert called(job) == [None] * 6
    monkeypatch.delenv("WANDB_NAME")
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    assert called(job)[1] is None  # W&B's own sweep gives a name


def test_the_sweep_file_of_the_documentation_composes(configs):
    """As `wandb agent` would start it."""
    sweep = yaml.safe_load((PROJECT / "docs/wandb_sweep.yaml").read_text())
    assert (PROJECT / sweep["program"]).exists()
    values = {key: p.get("values", [p.get("min")])[-1] for key, p in sweep["parameters"].items()}
    words = sweep["command"]
    assert words[:3] == ["${env}", "python", "${program}"]
    assert words.pop() == "${args_no_hyphens}"
    config = configs(*words[3:], *(f"{key}={value}" for key, value in values.items()))
    assert config.lr == 0.01
    assert config.logger.wandb.project == "deeper"
    assert not config.test
    assert sweep["metric"] == {"name": f"best/{config.objective}", "goal": config.direction.value}


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
