"""`reproduce=` runs a record's config again and compares every number."""

import json
import re

import pytest
from driver import words
from entry import call, record, run_dirs


@pytest.fixture(scope="module")
def original(images, tmp_path_factory):
    logs = tmp_path_factory.mktemp("original")
    assert call(*words(images, logs, "epochs=1", "test=true")).returncode == 0
    return run_dirs(logs)[0]


def again(run, tmp_path, *more):
    return call(f"reproduce={run}", f"paths.logs={tmp_path}", f"paths.cache={tmp_path}/c", *more)


@pytest.mark.parametrize("file", ["", "run.json"])
def test_the_same_bits(original, tmp_path, file):
    saved = {path: path.stat().st_mtime_ns for path in original.rglob("*") if path.is_file()}
    result = again(original / file, tmp_path)
    assert result.returncode == 0, result.stderr
    assert {path: path.stat().st_mtime_ns for path in saved} == saved
    (numbers,) = re.findall(r"reproduced to the bit: (\d+) numbers", result.stdout)
    assert int(numbers) > len(record(original)["results"])  # the rows' too
    (run,) = run_dirs(tmp_path)
    assert (run / "checkpoints/best.ckpt").exists()
    assert record(run)["identity"] == record(original)["identity"]


@pytest.mark.parametrize("word", ["seed=1", "lr=0.1", "model/head=fc"])
def test_other_words_are_refused_with_the_records_value(original, tmp_path, word):
    result = again(original, tmp_path, word)
    assert result.returncode == 2
    assert f"{word}: reproduce={original} keeps the config of its record (" in result.stderr


def edited(original, tmp_path, **changes):
    content = record(original) | changes
    (tmp_path / "run.json").write_text(json.dumps(content))
    return tmp_path / "run.json"


def test_other_numbers_are_listed(original, tmp_path):
    results = record(original)["results"] | {"val/loss": 1.0}
    result = again(edited(original, tmp_path, results=results, code="0123"), tmp_path / "logs")
    assert result.returncode == 1
    assert "1 of" in result.stderr
    assert "numbers differ; the code is other than the record's:" in result.stderr
    assert "in the record 1.0" in result.stderr


def test_elsewhere_small_differences_are_allowed(original, tmp_path):
    results = record(original)["results"]
    results["val/loss"] *= 1.01
    path = edited(original, tmp_path, results=results, hardware={"cpus": 999})
    result = again(path, tmp_path / "logs")
    assert result.returncode == 0, result.stderr
    assert "reproduced within 5%, on other hardware: " in result.stdout


def test_other_images_are_refused_before_they_are_trained_on(original, tmp_path):
    path = edited(original, tmp_path, data="0123")
    result = again(path, tmp_path / "logs")
    assert result.returncode == 2
    assert f"not the images that {path} was trained on (fingerprint " in result.stderr


def test_what_is_no_record(tmp_path):
    result = again(tmp_path / "nowhere", tmp_path / "logs")
    assert f"{tmp_path}/nowhere: cannot be read (No such file or directory)" in result.stderr

    (tmp_path / "run.json").write_text("{}")
    result = again(tmp_path, tmp_path / "logs")
    assert result.returncode == 2
    assert "not the record of a finished training; pass a run directory" in result.stderr
