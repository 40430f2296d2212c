"""run.json: how a run is recorded, whatever becomes of it."""

import json
import math

import pytest

from deeper.runs import record
from deeper.runs.directory import run_id


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


def test_jobs_of_different_sweeps_have_different_names():
    assert run_id("/logs/train/runs/2026-01-01_baseline") == "2026-01-01_baseline"
    assert run_id("/logs/train/multiruns/seed-12ab/0-34cd") == "seed-12ab-0-34cd"
