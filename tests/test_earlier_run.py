"""A run that an earlier commit of the project began."""

import json
import shutil

import pytest
import torch
from entry import call, rows
from test_golden import GOLDEN, LRN, TOLERANCE, WORDS

RUN_OF = "b41db5f"
RUN_WORDS = (
    *WORDS[1:],
    *LRN,
    "model.width=0.0625",
    "model/aux=none",
    "averaging=none",
    "logger=[]",
)


def test_a_run_of_an_earlier_commit_goes_on_as_it_would_have(images, tmp_path, monkeypatch):
    """golden/run was stopped after step 10 of 20; golden/rows.json has the uninterrupted run's rows.

    It was made by commit RUN_OF of the project, with `RUN_WORDS`.
    """
    logs = tmp_path / "logs"
    run = logs / "train/runs/golden"
    shutil.copytree(GOLDEN / "run", run)
    result = call(
        f"resume={run}", f"data.root={images}", f"paths.logs={logs}", f"paths.cache={logs}/c"
    )
    assert result.returncode == 0, result.stderr
    expected = json.loads((GOLDEN / "rows.json").read_text())
    for row, wanted in zip(rows(run), expected, strict=True):
        assert row["step"] == wanted["step"]
        for name in wanted.keys() & {"train/loss", "val/loss"}:
            assert row[name] == pytest.approx(wanted[name], rel=TOLERANCE), row["step"]
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 20
