"""run.json: how a run is recorded, whatever becomes of it."""

import json
import math
import sys

import numpy as np
import pytest
from entry import call, run_dirs, small

from deeper.runs import record, results
from deeper.runs.provenance import code_hash, own_packages
from deeper.training import precision


class Diverged(Exception):
    status = "diverged"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "finished"),
        (RuntimeError("x"), "failed"),
        (KeyboardInterrupt(), "interrupted"),
        (Diverged("x"), "diverged"),
    ],
)
def test_the_status_says_how_it_ended(tmp_path, error, status):
    try:
        with record.recorded(tmp_path, seed=3):
            assert record.read_record(tmp_path)["status"] == "running"
            if error is not None:
                raise error
    except type(error):
        pass
    found = record.read_record(tmp_path)
    assert (found["status"], found["seed"]) == (status, 3)
    assert ("error" in found) == (error is not None)


def test_what_is_not_finite_is_null(tmp_path):
    with record.recorded(tmp_path) as content:
        content["results"] = {"val/loss": math.nan, "val/top1": 0.5}
    text = (tmp_path / "run.json").read_text()
    found = json.loads(text, parse_constant=pytest.fail)
    assert found["results"] == {"val/loss": None, "val/top1": 0.5}


def test_a_look_that_was_counted_meanwhile_is_kept(tmp_path):
    with record.recorded(tmp_path):
        record.count_test_look(tmp_path)
    assert record.read_record(tmp_path)["test_looks"] == 1


@pytest.mark.parametrize("text", ['{"status": "fin', "[]", ""])
def test_a_damaged_record_is_said_in_one_line(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json: .*; restore it or start a new run$"):
        record.read_record(tmp_path)


def test_a_resumed_run_keeps_the_precision_that_auto_meant(images, tmp_path, monkeypatch):
    def on_a_machine(native):
        monkeypatch.setattr(precision, "bf16_in_hardware", lambda _: (native, "of its CPU"))

    on_a_machine(native=True)
    words = [*small(images, tmp_path), "precision=auto", "model.width=0.125", "test=false"]
    assert call(*words).returncode == 0
    (run,) = run_dirs(tmp_path)
    first = record.read_record(run)
    assert first["precision"] == {"asked": "auto", "used": "bf16"}
    on_a_machine(native=False)
    again = call(f"resume={run}", "epochs=2", "trainer.max_epochs=2")
    assert again.returncode == 0, again.stderr
    assert (
        "precision=bf16 as when the run started; here it would be fp32 (auto: of its CPU)"
        in " ".join(again.stdout.split())
    )
    assert "precision bf16" in again.stdout
    after = record.read_record(run)
    assert after["precision"] == first["precision"]


def test_a_run_says_what_reports_compare(images, tmp_path):
    words = [*small(images, tmp_path, "data.limit=null"), "model.width=0.125"]
    for more in (["experiment=no_aux", "seed=1"], ["seed=2"], ["lr=0.001"]):
        assert call(*words, *more).returncode == 0
    runs = sorted(run_dirs(tmp_path))
    ablated, baseline, other = (record.read_record(run) for run in runs)
    assert ablated["cell"] == baseline["cell"] != other["cell"]
    assert len({run["identity"] for run in (ablated, baseline, other)}) == 3
    costs = baseline["costs"]
    assert costs["parameters_training"] > costs["parameters_inference"] > 0
    assert costs["macs_training"] > costs["macs_inference"] == ablated["costs"]["macs_training"]
    assert (baseline["classes"], baseline["processes"]) == (10, 1)
    assert baseline["seconds"] > 0
    outcomes = np.load(runs[1] / results.OUTCOMES)
    ranks = outcomes["rank"]
    assert ranks.shape == (50,)
    assert (ranks == 0).mean() == pytest.approx(baseline["results"]["test/top1"])
    assert (ranks < 5).mean() == pytest.approx(baseline["results"]["test/top5"])
    assert np.array_equal(ranks == 0, outcomes["predicted"] == outcomes["label"])
    assert np.bincount(outcomes["label"]).tolist() == [5] * 10
    assert outcomes["classes"].tolist() == sorted(f.name for f in (images / "train").iterdir())
    assert outcomes["nll"].mean() == pytest.approx(baseline["results"]["test/loss"], rel=1e-3)


def test_code_is_that_of_packages_which_the_config_names(tmp_path, monkeypatch):
    """A baseline does not depend on the packages of another job's network."""
    file = tmp_path / "mine_parts.py"
    file.write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "trust=[mine_parts]"])
    baseline = {"model": {"_target_": "deeper.models.googlenet.GoogLeNet"}}
    own = {"model": {"_target_": "mine_parts.Net"}}
    before = code_hash(own_packages(baseline)), code_hash(own_packages(own))
    file.write_text("x = 2")
    assert code_hash(own_packages(baseline)) == before[0] != before[1]
    assert code_hash(own_packages(own)) != before[1]
