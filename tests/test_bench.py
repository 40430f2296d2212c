"""The benchmarks as a shell starts them, on pictures that take seconds."""

import json

import pytest
from entry import shell

LINES = ("torchvision, originals", "ours, originals", "torchvision, packed as files", "ours, packed")


def test_loading_compares_side_by_side_and_keeps_what_it_found(images, tmp_path):
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "data.root: required; pass data.root=<value>"),
        (["data.root=/x", "rounds=0", "workers=-1"], "rounds=0: must be at least 1"),
        (["data.root=/x", "workers=-1"], "workers=-1: must be at least 0"),
        (["data.root=/x"], "data.root=/x: found no train/<class>/*.JPEG (or .jpg)"),
        (["data.root=/x", "what=cooking"], "what"),
    ],
)
def test_refusals(words, message, tmp_path):
    result = shell(*words, f"paths.cache={tmp_path}", script="bench")
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
