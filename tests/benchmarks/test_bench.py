"""The benchmarks, on images that take seconds."""

import json

import pytest
import torch
from entry import PROJECT, call, shell
from torch import nn

from deeper.benchmarks import evaluation

LINES = (
    "torchvision, originals",
    "ours, originals",
    "torchvision, packed as files",
    "ours, packed",
)


def test_loading_compares_side_by_side_and_writes_its_results(images, tmp_path):
    words = [f"data.root={images}", "images=20", "rounds=2", "workers=1", f"results={tmp_path}"]
    result = shell(*words, f"paths.cache={tmp_path / 'cache'}", script="bench")
    assert result.returncode == 0, result.stderr
    (file,) = tmp_path.glob("loading-*.json")
    found = json.loads(file.read_text())
    assert [(row["pipeline"], row["workers"]) for row in found["rows"]] == [
        (line, workers) for workers in (0, 1) for line in LINES
    ]
    for row in found["rows"]:
        assert len(row["of_rounds"]) == 2
        assert row["images_per_s"] > 0
        assert row["pipeline"] in result.stdout
    assert {row["times"] for row in found["rows"] if row["pipeline"] == LINES[0]} == {1.0}
    assert {"commit", "versions", "hardware", "command"} <= set(found)
    assert str(file) in result.stdout.replace("\n", "")


def test_evaluation_is_compared_with_its_network_alone(images, tmp_path, monkeypatch, capsys):
    """Both get the same batches, and 144 views of every image reach the network in either."""
    seen = []

    class Mean(nn.Module):
        def forward(self, views):
            seen.append(views)
            return views.float().mean((2, 3))

    monkeypatch.setattr(evaluation, "SIZE", 16)
    monkeypatch.setattr(evaluation, "Network", Mean)
    evaluation.run(images, images=2, rounds=2, workers=0, results=tmp_path)
    passes = [torch.cat(seen[i : i + 6]) for i in range(0, len(seen), 6)]  # 2 × 144 views in 48s
    assert len(passes) == 6
    assert all(torch.equal(one, passes[0]) for one in passes)
    (file,) = tmp_path.glob("evaluation-*.json")
    found = json.loads(file.read_text())
    assert (found["images"], found["crops"], found["size"]) == (2, 144, 16)
    assert [row["pass"] for row in found["rows"]] == ["network on ready batches", "evaluation"]
    assert found["rows"][0]["share"] == 1
    assert all(len(row["of_rounds"]) == 2 and row["images_per_s"] > 0 for row in found["rows"])
    assert "144 crops of 16 px" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "data.root: required; pass data.root=<value>"),
        (
            ["data.root=/x", "rounds=0", "workers=-1"],
            "rounds=0: must be at least 1\n  workers=-1: ",
        ),
        (["data.root=/x"], "data.root=/x: found no train/<class>/ with photos"),
        (["data.root=/x", "what=cooking"], "what"),
    ],
)
def test_refusals(words, message, tmp_path):
    result = call(*words, f"paths.cache={tmp_path}", script="bench")
    assert result.returncode == 2, result.stderr
    assert message in result.stderr


def test_published_results_are_not_overwritten_unasked(configs):
    results = configs(name="bench").results
    assert results == str(PROJECT / "logs/bench")
    ignored = (PROJECT / ".gitignore").read_text().splitlines()
    assert "/logs/" in ignored
