"""Several networks judged as one, by several protocols, from src/eval.py."""

import importlib
import json
import shutil
import sys

import numpy as np
import pytest
from entry import record, run_dirs
from hydra.core.global_hydra import GlobalHydra

from deeper import checkpoint
from deeper.evaluation import evaluate as reevaluate
from deeper.evaluation.runner import Judge
from deeper.runs import directory

TINY = "model.width=0.125"


@pytest.fixture
def judge(tmp_path, monkeypatch):
    """`judge("run=…")` runs src/eval.py in this process and answers what it wrote."""

    def run(*words):
        logs = tmp_path / "judged"
        entry = importlib.import_module("eval")
        shared = [
            "trainer=cpu",
            "precision=fp32",
            f"paths.logs={logs}",
            f"paths.cache={tmp_path}/c",
        ]
        monkeypatch.setattr(sys, "argv", ["src/eval.py", *shared, *words])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        before = set(run_dirs(logs))
        GlobalHydra.instance().clear()
        directory._stamp.cache_clear()
        entry.main()
        (new,) = set(run_dirs(logs)) - before
        return json.loads((new / "evaluation.json").read_text())

    return run


def test_two_networks_by_two_protocols(train, judge, tmp_path, monkeypatch, capsys):
    one, two = train(TINY, "test=false"), train("model.width=0.25", "seed=1", "test=false")
    passes = []
    setup = Judge.setup
    monkeypatch.setattr(
        Judge, "setup", lambda self, stage: setup(self, stage) or passes.append(len(self.jobs))
    )
    alone = judge(f"run={one}", "protocol=ten")
    files = f"files=['{one}','{two}/checkpoints/best.ckpt']"
    found = judge(files, "protocols=[single,ten]")
    assert passes == [1, 3]  # what was known of the first by ten crops was not run again
    assert [(row["models"], row["crops"]) for row in found["rows"]] == [
        (1, 1), (1, 10), (2, 1), (2, 10)
    ]  # fmt: skip
    assert found["rows"][1]["top1"] == alone["rows"][0]["top1"]
    assert found["each"][1]["nll"] == alone["each"][0]["nll"]
    assert "its gain" in capsys.readouterr().out

    kept = {}
    for folder in (tmp_path / "c/probabilities").iterdir():
        about = json.loads((folder / "about.json").read_text())
        p, labels = (np.load(folder / f"{name}.npy") for name in ("probabilities", "labels"))
        kept[about["checkpoint"], about["protocol"]["_target_"].rpartition(".")[2]] = p, labels
    assert len(kept) == 4
    digests = [checkpoint.sha256(run / "checkpoints/best.ckpt") for run in (one, two)]
    mean = np.mean([kept[digest, "Ten"][0] for digest in digests], axis=0, dtype=float)
    labels = kept[digests[0], "Ten"][1]
    assert found["rows"][-1]["top1"] == int((mean.argmax(1) == labels).sum())
    assert np.array(found["confusion"]).sum() == found["rows"][-1]["n"] == 48

    for run in (one, two):
        written = sorted((run / "eval").iterdir())
        assert json.loads(written[-1].read_text())["rows"] == found["rows"]
    assert record(one)["test_looks"] == 2
    assert record(two)["test_looks"] == 1

    shutil.rmtree(two / "eval")
    (two / "eval").touch()  # as where a run is not ours to write to
    judge(f"run={two}", "protocol=ten", "fusion=max")
    assert f"{two}: File exists, so not written there; written to" in " ".join(
        capsys.readouterr().out.split()
    )
    assert passes == [1, 3, 1]


def state(**data):
    about = {"root": "here", "val_from": "holdout", "holdout": 0.05} | data
    return {"deeper": {"classes": ["ant", "bee"], "config": {"data": about}}}


class Here:
    """As much of `ImageData` as is asked."""

    classes = ("ant", "bee")
    root, val_from, holdout = "here", "holdout", 0.05

    def __init__(self):
        self.classes, self.tested = [*self.classes], []

    def require_test(self, val_from):
        self.tested.append(val_from)


class Asked(dict):
    split, trainer = "val", {}


def test_what_another_network_was_trained_on_is_refused():
    asked, data = Asked(), Here()
    reevaluate.require_judgeable(asked, {"a": state(), "b": state()}, data)
    with pytest.raises(ValueError, match=r"^b: trained with data.val_from=official data.holdout"):
        reevaluate.require_judgeable(asked, {"a": state(), "b": state(val_from="official")}, data)
    elsewhere = state(val_from="official", root="there")
    reevaluate.require_judgeable(asked, {"a": state(), "b": elsewhere}, data)
    asked.split = "test"
    reevaluate.require_judgeable(asked, {"a": state(), "b": state(val_from="official")}, data)
    assert data.tested == ["holdout", "official"]


def test_other_classes_are_named_with_their_file():
    other = state()
    other["deeper"]["classes"] = ["ant", "cat"]
    with pytest.raises(ValueError, match=r"^b: the checkpoint was .* at 1: 'cat' against 'bee'"):
        reevaluate.require_judgeable(Asked(), {"a": state(), "b": other}, Here())


def test_a_share_of_the_batches_is_no_evaluation():
    asked = Asked()
    asked.trainer = {"limit_val_batches": 3}
    with pytest.raises(ValueError, match=r"counts every image; data.limit=N takes fewer"):
        reevaluate.require_judgeable(asked, {"a": state()}, Here())
