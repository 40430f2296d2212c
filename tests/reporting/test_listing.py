"""src/runs.py over stored runs."""

import json

import pytest
from entry import call, shell
from stored_runs import SETTINGS, write_run


@pytest.fixture
def logs(tmp_path):
    write_run(tmp_path / "train/store", "baseline", 0)
    write_run(tmp_path / "train/store", "no_aux", 1, status="failed", error="MemoryError: 3 GB")
    write_run(tmp_path / "train/runs", "head_fc", 2, config=SETTINGS | {"optimizer": {"lr": 0.5}})
    replaced = tmp_path / "train/store/0123456789ab_until_2026"
    write_run(tmp_path / "train/store", "baseline", 8).rename(replaced)
    (tmp_path / "train/runs/other").mkdir()
    (tmp_path / "train/runs/other/run.json").write_text("{")
    return tmp_path


def ask(logs, *words):
    done = call(*words, f"paths.logs={logs}", script="runs")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_list_has_the_newest_first(logs):
    printed = ask(logs)
    assert "4 runs" in printed
    assert printed.index("head_fc") < printed.index("no_aux") < printed.index("baseline-0")
    assert "failed" in printed
    assert "1 runs" in ask(logs, "ls", f"{logs}/train/runs/head_fc-2")


def test_one_run_in_full(logs):
    printed = ask(logs, "show", f"{logs}/train/store/no_aux-1")
    for part in (
        "failed MemoryError: 3 GB",
        "test/top1 0.8",
        "commit abc",
        "fingerprint d1",
        "epoch 3",
    ):
        assert part in printed


def test_what_two_runs_differ_in(logs):
    printed = ask(logs, "diff", f"{logs}/train/store/baseline-0", f"{logs}/train/runs/head_fc-2")
    assert "optimizer.lr" in printed
    assert "identity" in printed
    assert "image_size" not in printed


def test_clean_asks_before_it_removes(logs):
    store = logs / "train/store"
    printed = ask(logs, "clean")
    assert "2 runs" in printed
    assert "yes=true removes them" in printed
    assert (store / "no_aux-1").exists()
    assert "removed 2 runs" in ask(logs, "clean", "yes=true")
    assert sorted(path.name for path in store.iterdir()) == ["baseline-0"]
    assert "removed 1 runs" in ask(logs, "clean", f"{store}/baseline-0", "yes=true")


def test_a_run_that_is_written_to_is_not_removed(logs):
    from deeper.runs.lease import Lease

    run = logs / "train/store/no_aux-1"
    record = json.loads((run / "run.json").read_text()) | {"status": "running"}
    (run / "run.json").write_text(json.dumps(record))
    assert "killed" in ask(logs)
    lease = Lease.acquire(run)
    try:
        assert "running" in ask(logs)
        done = call("clean", str(run), "yes=true", f"paths.logs={logs}", script="runs")
        assert done.returncode == 2
        assert "a process writes there; stop it first" in done.stderr
    finally:
        lease.release()
    assert run.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list"], "list: no such command; choose from ls, show, diff, clean, send"),
        (["show"], "show: name one run directory"),
        (
            ["send", "a"],
            "send: name runs and loggers, as `python src/runs.py send RUN logger=wandb`",
        ),
        (["diff", "a"], "diff: name two run directories"),
        (["show", "nowhere"], "nowhere: no such run directory"),
    ],
)
def test_refusals(logs, words, message):
    done = call(*words, f"paths.logs={logs}", script="runs")
    assert done.returncode == 2
    assert message in done.stderr


def test_neither_answer_imports_torch(logs):
    for script, words in (("runs", []), ("report", ["plan", "nowhere"])):
        done = shell(*words, f"paths.logs={logs}", script=script, PYTHONPROFILEIMPORTTIME="1")
        assert "| torch\n" not in done.stderr
