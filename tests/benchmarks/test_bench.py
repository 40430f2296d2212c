"""The benchmarks, at sizes that take seconds."""

import json

import pytest
import torch
from entry import PROJECT, call
from torch import nn

from deeper.benchmarks import evaluation, operators, overhead, startup, timing, training
from deeper.benchmarks.timing import Contest, Figure
from deeper.config import check
from deeper.training.precision import bf16_in_hardware

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
NATIVE = ["bf16"] if bf16_in_hardware("cpu")[0] else []
TINY = ("device=cpu", "precision=fp32", "size=32", "batch_size=2", "rounds=1")


@pytest.fixture
def measured(images, tmp_path, monkeypatch):
    """`measured("what=lrn")` gives the results of the last part that a tiny run measured."""
    monkeypatch.setattr(overhead, "STEPS", overhead.WARM_UP + 2)
    monkeypatch.setattr(evaluation, "IMAGES", 1)
    monkeypatch.setattr(training, "rate", lambda *words: 1.0)

    def run(*words):
        where = [f"results={tmp_path}", f"paths.cache={tmp_path / 'cache'}"]
        result = call(*TINY, *where, f"data.root={images}", *words, script="bench")
        assert result.returncode == 0, result.stderr
        (file,) = tmp_path.glob("*.json")
        return json.loads(file.read_text()), result.stdout

    return run


def test_contestants_take_turns_and_the_first_round_does_not_count():
    seen, own = [], iter([9.0, 0.5, 0.25, 0.5])
    contest = Contest(
        "fake",
        {"fast": lambda: seen.append("fast"), "timed by itself": lambda: next(own)},
        "images/s",
        work=4,
    )
    times = timing.seconds(contest, rounds=3)
    assert seen == ["fast"] * 4
    assert times["timed by itself"] == [0.5, 0.25, 0.5]
    assert contest.value(0.5) == 8
    assert len(times["fast"]) == 3


def test_a_contest_sets_its_threads_and_puts_them_back(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    set_to = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    timing.seconds(Contest("fake", {"a": lambda: None}, "images/s", threads=1), rounds=1)
    assert set_to == [1, 5]


def test_ratios_are_medians_of_the_rounds_ratios():
    """A machine that slows down in one round slows both."""
    assert timing.ratio([1.0, 2.0, 10.0], [3.0, 4.0, 40.0]) == (3.0, 2.0, 4.0)


def test_figures_compare_with_their_aims():
    times = {"ours": [1.0, 1.2], "theirs": [2.0, 2.4], "slow": [8.0, 9.0]}
    faster = Figure("speed", ["slow", "ours"], "theirs", at_least=2)
    assert faster.fastest(times) == "ours"
    assert faster.measured(times, work=1) == 2
    assert faster.met(2)
    assert not faster.met(1.9)
    longer = Figure("overhead", "theirs", "ours", at_most=0.7)
    assert longer.measured(times, work=1000) == pytest.approx(1.1)
    assert not longer.met(1.1)
    assert Figure("start", "ours", at_most=1.1).measured(times, work=1) == pytest.approx(1.1)
    assert not Figure("speed", "ours", "ONNX Runtime", at_least=1).found_in(times)
    assert not Figure("speed", ["compiled"], "ours", at_least=1).found_in(times)


def test_convolutions_are_recorded_with_their_operations():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 1))
    images = torch.randn(2, 3, 8, 8)
    recorder = operators.record(lambda: net(images).sum().backward())
    first, second = 2 * 2 * 64 * 4 * 27, 2 * 2 * 64 * 5 * 4
    assert recorder.operations == 2 * first + 3 * second  # images need no gradient
    recorder.run_convolutions()


@pytest.mark.parametrize(
    ("what", "contestants"),
    [
        ("limits", {"fp32", "copy", "ours", "PIL", *NATIVE}),
        ("step", {"torchvision as run", "ours", "ours, lrn", "convolutions alone", "pooling"}),
        ("lrn", {"torch", "ours"}),
        ("overhead", {"bare loop", "ours, everything on"}),
        ("checkpoint", {"torch.save", "torch.load", "ours"}),
        ("loading", {"torchvision, originals", "ours, packed"}),
        ("end_to_end", {"torchvision as run", "ours"}),
        ("evaluation", {"network on ready batches", "evaluation"}),
        ("scaling", {"64 px", "4 a batch", "4,000 classes", "1 workers"}),
    ],
)
def test_every_benchmark_measures_its_contestants(what, contestants, measured):
    found, printed = measured(f"what={what}", "workers=0", "images=2")
    rows = [row for result in found[what]["results"] for row in result["rows"]]
    assert contestants <= {next(iter(row.values())) for row in rows}
    assert all(len(row["rounds_s"]) == 1 for row in rows if "rounds_s" in row)
    assert {"commit", "versions", "hardware", "settings"} <= set(found[what])
    assert all(name in printed for name in contestants)


@pytest.mark.slow
def test_inference_is_measured_in_every_form(measured):
    found, _ = measured("what=inference")
    speed, *agreement = found["inference"]["results"]
    names = {row["contestant"] for row in speed["rows"]}
    assert {"torchvision as run", "ours, torch.export", "ONNX Runtime, ours"} <= names
    assert ("ours, folded, bf16" in names) == bool(NATIVE) == bool(agreement)
    assert all(part["rows"][0]["max |Δ probability|"] < 0.1 for part in agreement)


def test_a_part_that_is_measured_again_replaces_itself_alone(measured):
    measured("what=lrn")
    first, _ = measured("what=checkpoint")
    again, printed = measured("what=[lrn]")
    assert again["checkpoint"] == first["checkpoint"]
    assert again["lrn"] != first["lrn"]
    assert "checkpoint, save" not in printed
    assert "LRN forward and backward" in printed


@pytest.mark.slow
def test_starts_are_timed(measured, monkeypatch):
    monkeypatch.setattr(startup, "COMMANDS", {"--help": ["--help"]})
    found, _ = measured("what=startup")
    rows = found["startup"]["results"][0]["rows"]
    assert [row["contestant"] for row in rows] == ["--help", "first training step"]
    assert rows[0]["ms"] < rows[1]["ms"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["what=loading"], "data.root: required for what=loading; pass data.root=<value>"),
        (
            ["rounds=0", "workers=-1", "size=8"],
            "rounds=0: must be at least 1\n  workers=-1: must be at least 0\n  size=8: must be",
        ),
        (
            ["data.root=/x", "what=loading"],
            "data.root=/x: found no train/<class>/ with photos",
        ),
        (["what=cooking"], "what=cooking: no such benchmark; choose from all, limits, step,"),
        (["what=[step,lrm]"], "what=lrm: no such benchmark; did you mean 'lrn'?"),
        (["what=null"], "what=None: no such benchmark; choose from all, limits"),
        (["what=[]"], "what=[]: no such benchmark; choose from all, limits"),
        (["device=tpu"], "Invalid value 'tpu', expected one of [auto, cpu, cuda]"),
        pytest.param(
            ["device=cuda"], "device=cuda: no CUDA GPU here; pass device=cpu", marks=NO_GPU
        ),
        (["device=cpu", "precision=fp16"], "precision=fp16 needs a CUDA GPU"),
    ],
)
def test_refusals(words, message, tmp_path):
    where = [f"paths.cache={tmp_path}", f"results={tmp_path}"]
    result = call(*where, *words, script="bench")
    assert result.returncode == 2, result.stderr
    assert message in result.stderr


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["device=cpu"], {"loading", "end_to_end", "evaluation", "training", "scaling"}),
        (["device=cpu", "data.root=/x"], {"training", "scaling"}),
        (["device=cpu", "what=[all,training]"], {"loading", "end_to_end", "evaluation", "scaling"}),
    ],
)
def test_all_is_what_needs_no_more_than_is_given(configs, words, missing):
    chosen = check.check_bench(configs(*words, name="bench"))
    assert {*check.BENCHMARKS} - {*chosen} == missing


def test_every_module_of_benchmarks_is_a_choice():
    for name in check.BENCHMARKS:
        text = (PROJECT / f"src/deeper/benchmarks/{name}.py").read_text()
        assert "def contests(" in text, name


def test_published_results_are_not_overwritten_unasked(configs):
    results = configs(name="bench").results
    assert results == str(PROJECT / "logs/bench")
    ignored = (PROJECT / ".gitignore").read_text().splitlines()
    assert "/logs/" in ignored
