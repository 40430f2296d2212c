"""Multiruns of trainings: one run for each identity, in a store that all multiruns share."""

import json
import shutil

import pytest
from entry import call, record, run_dirs, shell, small

TINY = "model.width=0.125"


def runs(logs):
    return {run.name: record(run) for run in run_dirs(logs)}


@pytest.fixture(scope="module")
def swept(images, tmp_path_factory):
    """The logs of a multirun of two seeds."""
    logs = tmp_path_factory.mktemp("logs")
    result = call("-m", "seed=0,1", TINY, *small(images, logs))
    assert result.returncode == 0, result.stderr
    return logs


@pytest.fixture
def logs(swept, tmp_path):
    """A copy, since what a run is does not depend on where it lies."""
    return shutil.copytree(swept, tmp_path / "logs", symlinks=True)


def test_each_job_has_a_directory_named_by_its_identity(swept):
    found = runs(swept)
    assert len(found) == 2
    assert all(name == run["identity"] for name, run in found.items())
    assert all(run["results"]["test/n"] == 48 for run in found.values())
    (folder,) = (swept / "train/multiruns").iterdir()
    listed = json.loads((folder / "sweep.json").read_text())["jobs"]
    assert [(row["job"], row["run"] in found) for row in listed] == [(0, True), (1, True)]
    assert record(folder / "1-seed=1")["seed"] == 1
    of_sweep = {(run["sweep"], run["job"]) for run in found.values()}
    assert of_sweep == {(folder.name, "s0"), (folder.name, "s1")}
    assert "val/top1" in (swept / "train/store" / listed[0]["run"] / "job.log").read_text()


def test_what_other_multiruns_have_done_is_not_done_again(logs, images):
    before, fixed = runs(logs), [TINY, *small(images, logs)]
    done = call("-m", "logger=tensorboard", *reversed(fixed), "seed=1,0,2")
    assert done.returncode == 0, done.stderr
    assert "3 jobs, 2 of them done before" in done.stdout
    after = runs(logs)
    assert len(after) == 3
    assert {name: after[name] for name in before} == before


def test_where_nothing_is_left_to_do_torch_is_not_imported(logs, images, tmp_path):
    (tmp_path / "torch.py").write_text("raise AssertionError('torch is imported')")
    words = ["-m", "seed=0,1", TINY, *small(images, logs)]
    again = shell(*words, PYTHONPATH=str(tmp_path))
    assert again.returncode == 0, again.stderr
    assert "2 of them done before" in again.stdout


def test_strict_refuses_what_other_code_has_done(logs, images):
    words = ["-m", "seed=0,1", TINY, *small(images, logs)]
    run, _ = run_dirs(logs)
    (run / "run.json").write_text(json.dumps(record(run) | {"code": "other"}))
    refused = call(*words, "sweep.strict=true")
    assert refused.returncode == 2
    assert "other code than today's has done job" in refused.stderr
    marked = call(*words)
    assert marked.returncode == 0
    assert "done: by other code" in marked.stdout


def test_a_replaced_image_makes_a_run_anew(images, tmp_path):
    root = shutil.copytree(images, tmp_path / "images")
    words = ["-m", "seed=0", TINY, *small(root, tmp_path, "data.limit=null", "test=false")]
    assert call(*words).returncode == 0
    image = next((root / "train").rglob("*.*"))
    image.write_bytes(image.read_bytes() + b"\0" * 100)
    again = call(*words)
    assert again.returncode == 0, again.stderr
    assert "job 0: its images have changed (fingerprint" in again.stdout
    (earlier,) = (tmp_path / "train/store").glob("*_until_*")
    (now,) = {*run_dirs(tmp_path)} - {earlier}
    assert record(earlier)["data"] != record(now)["data"]
    assert f"the earlier run is {earlier}" in again.stdout
    assert "1 of them done before" in call(*words).stdout


def test_one_failed_job_leaves_the_others_and_is_tried_again(images, tmp_path):
    words = ["-m", "data.batch_size=16,15", "trainer.accumulate_grad_batches=2", TINY]
    for _ in range(2):
        result = call(*words, *small(images, tmp_path))
        assert result.returncode == 1
        assert "job 1 failed: data.batch_size=15" in result.stderr
        assert len(run_dirs(tmp_path)) == 1
    assert "1 of them done before" in result.stdout


def test_jobs_of_two_processes_each(images, tmp_path):
    words = ["-m", "seed=0,1", "trainer=ddp_cpu", TINY, *small(images, tmp_path)]
    result = shell(*words)
    assert result.returncode == 0, result.stderr
    found = runs(tmp_path)
    assert len(found) == 2
    assert all(run["results"]["test/n"] == 48 for run in found.values())
    refused = call("-m", "seed=5,6", *words[2:], "hydra/launcher=basic")
    assert refused.returncode == 2
    assert "each rank of a DDP trainer would start the whole sweep" in refused.stderr


REFUSED_SWEEPS = {
    "a job that check refuses": (["model.width=1,-1"], "job 1 (model.width=-1"),
    "a job that does not compose": (["experiment=no_auxx,no_aux"], "did you mean 'no_aux'?"),
    "a glob without a match": (["recipe=glob(zz*)"], "the sweep has no jobs"),
}


@pytest.mark.parametrize("case", REFUSED_SWEEPS)
def test_a_refused_sweep_leaves_nothing(case, tmp_path):
    words, message = REFUSED_SWEEPS[case]
    refused = call("-m", *words, f"paths.logs={tmp_path}")
    assert refused.returncode == 2, refused.stderr
    assert message in refused.stderr
    assert list(tmp_path.iterdir()) == []
