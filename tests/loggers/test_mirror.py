"""Mirrors: a failure costs the mirror and not the run, and after kills each has every row once."""

import math
import signal

import numpy as np
import pytest
import wandb
from entry import rows
from mirror_rows import csv_rows, tensorboard_media, tensorboard_points, wandb_media, wandb_rows
from tiny_fit import Rows, data, module, trainer

from deeper.callbacks.checkpoint import Checkpoint
from deeper.callbacks.media import Media
from deeper.callbacks.meter import Meter
from deeper.loggers.jsonl import MetricsFile, MetricsTable
from deeper.loggers.mirror import mirrors, rewind
from deeper.loggers.tensorboard import TensorBoard
from deeper.loggers.wandb import Wandb
from deeper.signals import Stopped


def fit(run, loggers, epochs=1):
    """One start of a run, which continues from its last checkpoint."""
    kept = Checkpoint(str(run / "checkpoints"))
    everything = [MetricsFile(run), *mirrors(loggers, run)]
    media = Media(str(run / "media"), gradients=True)
    made = trainer(Meter(), media, kept, max_epochs=epochs, logger=everything, log_every_n_steps=1)
    last = kept.last if kept.last.exists() else None
    made.fit(module(), data(), ckpt_path=last, weights_only=True)


def cut(file, lost):
    """As a kill leaves a file whose writer had not flushed."""
    file.write_bytes(file.read_bytes()[:-lost])


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
def test_after_kills_every_mirror_has_every_row_once(tmp_path):
    """Each start but the last leaves rows beyond its checkpoint and files that are cut."""
    for epochs in (1, 2, 3):
        board = TensorBoard(str(tmp_path), name="tensorboard", version="")
        offline = Wandb("offline", project="p", id="tiny", save_dir=str(tmp_path))
        loggers = {"csv": MetricsTable(tmp_path), "tensorboard": board, "wandb": offline}
        fit(tmp_path, loggers, epochs)
        if epochs < 3:
            with (tmp_path / "metrics.jsonl").open("a") as file:
                file.write('{"step": 8, "train/loss": 1.0, "epoch": 0.0}\n{"step": 9, "tra')
            board.log_metrics({"train/loss": 1.0}, step=8)
            offline.log_metrics({"train/loss": 1.0}, step=8)
            later = tmp_path / "media/images/conv1/00000008.png"
            later.write_bytes(b"of a step beyond the checkpoint")
        board.finalize("failed")
        wandb.finish()
        if epochs < 3:
            cut(next((tmp_path / "tensorboard").glob("events.*")), lost=20)
            cut(next((tmp_path / "wandb").glob("offline-*/*.wandb")), lost=1500)
    found = rows(tmp_path)
    assert [row["step"] for row in found] == [1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9]
    assert csv_rows(tmp_path) == found
    assert wandb_rows(tmp_path) == found
    drawn = {(1, "images/train_batch")}
    for step in (3, 6, 9):
        drawn |= {(step, f"images/{name}") for name in ("mistakes", "confusion", "conv1")}
        drawn |= {(step, f"gradients/{stage}") for stage in ("conv", "norm", "head")}
    assert wandb_media(tmp_path) == drawn
    assert tensorboard_media(tmp_path) == drawn
    assert tensorboard_points(tmp_path) == sorted(
        (row["step"], name, float(np.float32(value)))
        for row in found
        for name, value in row.items()
        if name != "step"
    )


class Broken(Rows):
    """Raises in one method."""

    def __init__(self, method):
        super().__init__()
        self.method, self.calls = method, 0

    def fail(self, method):
        if method == self.method:
            self.calls += 1
            raise ConnectionError("the server\nis gone")

    @property
    def experiment(self):
        self.fail("experiment")

    def log_hyperparams(self, *_, **__):
        self.fail("log_hyperparams")

    def log_metrics(self, metrics, step=None):
        self.fail("log_metrics")

    def save(self):
        self.fail("save")

    def rebuild(self, rows):
        self.fail("rebuild")

    def finalize(self, status):
        self.fail("finalize")


@pytest.mark.parametrize(
    "method", ["experiment", "log_hyperparams", "log_metrics", "save", "rebuild", "finalize"]
)
def test_a_broken_mirror_is_off_and_the_run_goes_on(tmp_path, capsys, method):
    broken, whole = Broken(method), Rows()
    fit(tmp_path, {"broken": broken, "whole": whole})
    assert isinstance(broken, Broken)
    assert broken.calls == (2 if method == "finalize" else 1)  # once more, to close it
    said = [line for line in capsys.readouterr().out.splitlines() if "broken" in line]
    assert said == [
        f"logger.broken is off for the rest of this run (ConnectionError the server is gone); "
        f"metrics.jsonl has every row: python src/runs.py send {tmp_path} logger=broken"
    ]
    assert whole.rows == rows(tmp_path)


def test_a_signal_within_a_mirror_still_stops_the_run(tmp_path):
    class Slow(Rows):
        def log_metrics(self, metrics, step=None):
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        fit(tmp_path, {"slow": Slow()})


def test_mirrors_get_what_was_not_finite_as_nan(tmp_path):
    class Rebuilt(Rows):
        def rebuild(self, rows):
            self.rows = rows

    file, mirror = MetricsFile(tmp_path), Rebuilt()
    file.log_metrics({"train/loss": math.inf}, step=1)
    file.log_metrics({"train/loss": 1.0}, step=2)
    rewind([file, mirror], 1, step=1)
    ((step, metrics, _),) = mirror.rows
    assert step == 1
    assert math.isnan(metrics["train/loss"])
