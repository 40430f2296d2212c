"""What W&B and TensorBoard have of a run, of its start again, and of the jobs of a sweep."""

import shlex
import shutil
from functools import cache

import pytest
import wandb
from conftest import trained
from driver import differences, outcome
from entry import call, record, rows, small
from mirror_rows import (
    csv_rows,
    tensorboard_hparams,
    tensorboard_media,
    tensorboard_points,
    wandb_media,
    wandb_records,
    wandb_rows,
)

from deeper.sweep.queue import Queue

WORDS = ("model.width=0.125", "experiment=aux_4a", "averaging=ema", "augment=paper", "epochs=2")
INCEPTION = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
STAGES = ["conv1", "conv2_reduce", "conv2", "head", "aux", *(f"inception{n}" for n in INCEPTION)]
IMAGES = {f"images/{name}" for name in ("train_batch", "mistakes", "confusion", "conv1")}
NUMBERS = {
    "epoch", "train/loss", "train/loss_main", "train/loss_aux/inception4a", "optim/lr",
    "perf/images_per_s", "perf/data_wait", *(f"grad_norm/{stage}" for stage in STAGES),
    *(f"{split}/{name}" for split in ("val", "test") for name in ("loss", "top1", "top5", "n")),
}  # fmt: skip


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    """Two epochs of three steps, with every logger."""
    logs = tmp_path_factory.mktemp("logs")
    more = [
        "callbacks.media.gradients=true",
        "logger=[csv,tensorboard,wandb]",
        "logger.wandb.log_model=true",
        "logger.wandb.log_code=true",
    ]
    try:
        return trained(logs, *small(images, logs, *WORDS, *more))
    finally:
        wandb.finish()


def of_kind(run, kind):
    return [r[kind] for r in records(run) if r["type"] == kind]


records = cache(wandb_records)


def test_wandb_has_all_rows_and_media(run):
    found = rows(run)
    assert wandb_rows(run) == csv_rows(run) == found
    assert {key for row in found for key in row} == NUMBERS | {"step"}
    drawn = wandb_media(run)
    assert {key for _, key in drawn} == IMAGES | {f"gradients/{stage}" for stage in STAGES}
    assert {step for step, key in drawn if key == "images/mistakes"} == {3, 6}
    assert (1, "images/train_batch") in drawn


def test_wandb_knows_what_the_run_is(run):
    content, (about,) = record(run), of_kind(run, "run")
    assert (about["run_id"], about["display_name"]) == (
        run.name,
        "baseline-aux_4a-ema-paper-s0",
    )
    assert about["project"] == "deeper"
    assert about["job_type"] == "train"
    assert "run_group" not in about
    assert about["tags"] == ["baseline", "aux_4a", "synthetic", "fp32"]
    assert about["notes"] == shlex.join(["python", "src/train.py", *content["overrides"]])
    config = dict(about["config"]["update"])
    assert config.pop("run") == {
        "recipe": "baseline", "experiment": "aux_4a", "identity": content["identity"], "cell": content["cell"],
        "sweep": None, "data": content["data"], "precision": "fp32",
    }  # fmt: skip
    assert config["lr"] == content["config"]["lr"]
    assert config.keys() - {"_wandb"} == content["config"].keys()
    axes = of_kind(run, "metric")
    assert {"trainer/global_step"} == {
        axis["step_metric"] for axis in axes if "step_metric" in axis
    }


def test_the_summary_is_of_the_best_checkpoint(run):
    summary, results = {}, record(run)["results"]
    for part in of_kind(run, "summary"):
        summary |= part.get("update", {})
    for name in ("top1", "top5", "loss"):
        assert summary[f"best/val/{name}"] == pytest.approx(results[f"val/{name}"])
        assert summary[f"test/{name}"] == pytest.approx(results[f"test/{name}"])
    assert summary["best/epoch"] in (1, 2)
    assert summary["test/top1_low"] < summary["test/top1"] < summary["test/top1_high"]


def test_checkpoint_and_code_are_artifacts_on_request(run):
    found = {a["name"]: a for a in of_kind(run, "artifact")}
    assert [f["path"] for f in found[f"model-{run.name}"]["manifest"]["contents"]] == ["best.ckpt"]
    (code,) = [a for a in found.values() if a["type"] == "code"]
    assert any(f["path"] == "train.py" for f in code["manifest"]["contents"])


def test_tensorboard_shows_the_same(run):
    assert tensorboard_media(run) == wandb_media(run)
    names = {name for _, name, _ in tensorboard_points(run)}
    assert names - NUMBERS == {
        "best/epoch", "best/val/loss", "best/val/n", "best/val/top1", "best/val/top5", "test/top1_low",
        "test/top1_high",
    }  # fmt: skip
    hparams = tensorboard_hparams(run)
    assert hparams.pop("metrics") == ["best/val/top1", "val/top1", "test/top1"]
    assert hparams.items() >= {
        "recipe": "baseline", "experiment": "aux_4a", "data": "synthetic", "precision": "fp32", "epochs": 2,
        "lr": record(run)["config"]["lr"], "model.width": 0.125, "averaging": "ema",
    }.items()  # fmt: skip
    assert not {key for key in hparams if key.startswith(("paths", "logger"))}


def test_media_change_nothing_of_a_training(run, images, tmp_path):
    plain = trained(tmp_path, *small(images, tmp_path, *WORDS))
    assert not (plain / "media").exists()
    assert record(plain)["identity"] == record(run)["identity"]
    assert differences(outcome(plain), outcome(run)) == []


def test_media_that_cannot_be_written_end_no_training(images, tmp_path, capfd):
    (tmp_path / "media").write_text("no folder")
    words = [*WORDS, "logger=tensorboard", f"callbacks.media.folder={tmp_path}/media"]
    assert record(trained(tmp_path, *small(images, tmp_path, *words)))["status"] == "finished"
    assert (
        "callbacks.media: images/train_batch was not drawn (NotADirectoryError"
        in capfd.readouterr().out
    )


def test_a_run_is_sent_again_whole(run, tmp_path):
    again = shutil.copytree(run, tmp_path / run.name)
    for folder in ("wandb", "tensorboard"):
        shutil.rmtree(again / folder)
    (again / "media/of_the_user.png").write_bytes(b"")
    done = call("send", str(again), "logger=[tensorboard,wandb]", script="runs")
    wandb.finish()
    assert done.returncode == 0, done.stderr
    assert f"{again}: tensorboard, wandb written" in done.stdout
    assert wandb_rows(again) == rows(run)
    assert wandb_media(again) == wandb_media(run)
    for key in ("run_id", "display_name", "tags", "notes", "job_type", "config"):
        assert of_kind(again, "run")[0][key] == of_kind(run, "run")[0][key], key
    assert tensorboard_points(again) == tensorboard_points(run)
    assert tensorboard_media(again) == tensorboard_media(run)
    assert tensorboard_hparams(again) == tensorboard_hparams(run)


def test_runs_of_a_sweep_have_names_of_their_own_and_one_group(images, tmp_path, monkeypatch):
    commands = []

    def keep(queue):
        commands.extend(queue.start.__self__._command(job) for job in queue.jobs)

    monkeypatch.setattr(Queue, "run", keep)
    done = call("-m", "sweep=lr", *small(images, tmp_path))
    assert done.returncode == 0, done.stderr
    said = [dict(w.split("=", 1) for w in c if w.startswith("hydra.sweep.")) for c in commands]
    names = [words["hydra.sweep.subdir"] for words in said]
    assert names == [f'"lr={lr}"' for lr in ("0.0125", "0.025", "0.05", "0.1", "0.2")]
    (group,) = {words["hydra.sweep.dir"] for words in said}
    assert "/multiruns/lr-" in group
