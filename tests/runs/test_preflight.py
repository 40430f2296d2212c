"""What is measured before a long run, which it leaves as it was."""

import re

import pytest
from entry import call, run_dirs

from deeper.models.geometry import relative_work
from deeper.runs import preflight

WORDS = (
    "model.width=0.125",
    "epochs=2",
    "batch_size=16",
    "data.workers=0",
    "trainer=cpu",
    "test=false",
)


@pytest.fixture
def start(images, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "SECONDS", 0.5)

    def run(*words, logs="logs"):
        given = [f"data.root={images}", f"paths.logs={tmp_path / logs}", "precision=fp32", *WORDS]
        return call(*given, *words)

    return run


def test_images_that_grow_take_less_time(start, monkeypatch):
    monkeypatch.setattr(preflight, "_network_speed", lambda *_: (0.001, 0))
    monkeypatch.setattr(preflight, "_loader_speed", lambda *_: 1e9)

    def hours(*words):
        result = start("preflight=only", "model/aux=none", *words)
        return float(re.search(r"time +about ([\d.]+) h", result.stdout)[1])

    work = relative_work(0.5, 0, 1)
    assert hours("data.initial_scale=0.5") == pytest.approx(work * hours(), rel=0.02)


def test_only_says_what_a_run_needs_and_leaves_nothing(start, tmp_path):
    result = start("preflight=only")
    assert result.returncode == 0, result.stderr
    for words in (
        "preflight labels    10 classes of ",
        "preflight network   ",
        "images/s a process; what limits is the ",
        "preflight memory    ",
        "for 2 epochs, without validation",
        "preflight disk      up to ",
        "preflight logits    equal after saving and loading",
    ):
        assert words in result.stdout
    assert not run_dirs(tmp_path)
    assert not [path for path in (tmp_path / "logs").rglob("*") if path.is_file()]


def test_the_run_after_it_is_the_run_without_it(start, tmp_path):
    from driver import differences, outcome

    for setting in ("on", "off"):
        result = start(f"preflight={setting}", logs=setting)
        assert result.returncode == 0, result.stderr
        assert ("preflight " in result.stdout) == (setting == "on")
    (one,), (other,) = run_dirs(tmp_path / "on"), run_dirs(tmp_path / "off")
    assert differences(outcome(one), outcome(other)) == []


def test_a_resumed_run_keeps_its_checkpoints(start, tmp_path):
    assert start("preflight=off").returncode == 0
    (run,) = run_dirs(tmp_path)
    files = {path.name for path in (run / "checkpoints").iterdir()}
    again = call(f"resume={run}", "epochs=3", f"paths.logs={tmp_path / 'logs'}", "preflight=on")
    assert again.returncode == 0, again.stderr
    assert "preflight logits    equal" in again.stdout
    assert files <= {path.name for path in (run / "checkpoints").iterdir()}


def test_auto_measures_nothing_of_a_short_run(start):
    assert "preflight " not in start("epochs=1").stdout


def test_a_disk_that_is_too_small_is_said_before(start, monkeypatch):
    monkeypatch.setattr(preflight, "gigabytes", lambda count: f"{count} bytes")
    usage = preflight.shutil.disk_usage
    monkeypatch.setattr(
        preflight.shutil, "disk_usage", lambda path: usage(path)._replace(free=2_000_000)
    )
    result = start("preflight=only")
    assert result.returncode == 2
    assert "the checkpoints need up to" in result.stderr
