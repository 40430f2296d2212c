"""What fails within a run: memory, a worker, the disk, a value that is not finite."""

import json
import os
import resource
import signal

import pytest
import torch
from driver import Process, differences, outcome, words
from entry import call, record, run_dirs

from deeper import checkpoint
from deeper.augment.flip import RandomFlip
from deeper.training.module import ImageClassifier


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    logs = tmp_path_factory.mktemp("whole")
    assert call(*words(images, logs)).returncode == 0
    return outcome(run_dirs(logs)[0])


def failing(name: str, owner: object, number: int, error: Exception):
    """A function that raises at its n-th call."""
    original, calls = getattr(owner, name), [0]

    def function(*arguments, **options):
        calls[0] += 1
        if calls[0] == number:
            raise error
        return original(*arguments, **options)

    return function


def test_out_of_memory_names_the_step_and_its_images(images, tmp_path, monkeypatch, whole):
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    with monkeypatch.context() as patch:
        patch.setattr(
            ImageClassifier, "training_step", failing("training_step", ImageClassifier, 6, error)
        )
        result = call(*words(images, tmp_path, "resume=auto"))
    assert result.returncode == 1
    assert "out of memory at step 6 (learning rate 0." in result.stderr
    assert "training images " in result.stderr
    assert "pass a smaller batch_size, or trainer.accumulate_grad_batches=2" in result.stderr
    (run,) = run_dirs(tmp_path)
    assert record(run)["status"] == "out of memory"
    assert call(*words(images, tmp_path, "resume=auto")).returncode == 0
    assert differences(whole, outcome(run)) == []


def test_a_worker_that_is_killed_costs_no_step(images, tmp_path, whole):
    def die_once() -> None:
        flip, main = RandomFlip.__call__, os.getpid()

        def call_(self, image):
            if os.getpid() != main and os.urandom(1)[0] < 12:
                os.kill(os.getpid(), signal.SIGKILL)
            return flip(self, image)

        RandomFlip.__call__ = call_

    log = tmp_path / "log"
    given = words(images, tmp_path, "resume=auto", "callbacks.checkpoint.every_minutes=99")
    assert Process(*given, log=log, before=die_once).wait() == 1
    assert (
        "a worker process of the loader was killed, by lack of memory most likely"
        in log.read_text()
    )
    assert Process(*given, log=log).wait() == 0
    assert differences(whole, outcome(run_dirs(tmp_path)[0])) == []


@pytest.mark.parametrize(
    "save", [1, 2, *(pytest.param(n, marks=pytest.mark.reliability) for n in range(3, 11))]
)
def test_a_full_disk_leaves_the_earlier_checkpoints(images, tmp_path, monkeypatch, whole, save):
    """The system takes a part of a file, and no more."""
    often = "callbacks.checkpoint.every_minutes=1e-6"  # after each step, however fast it is
    given, calls, write = words(images, tmp_path, "resume=auto", often), [0], torch.save

    def full(*arguments, **options):
        calls[0] += 1
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        room = 50_000 * save if calls[0] == save else before[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            write(*arguments, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        result = call(*given)
    assert result.returncode == 1
    assert "no space left on the disk; the earlier checkpoint is intact: make room" in result.stderr
    (run,) = run_dirs(tmp_path)
    for path in run.glob("checkpoints/*.ckpt"):
        checkpoint.load_checkpoint(path)
    assert not [*run.rglob(".*.ckpt.*")]
    assert call(*given).returncode == 0
    assert differences(whole, outcome(run)) == []


def test_a_damaged_last_costs_an_interval(images, tmp_path, whole):
    given = words(images, tmp_path, "resume=auto", "epochs=3")
    assert call(*given, "callbacks.checkpoint.every_minutes=99").returncode == 0
    (run,) = run_dirs(tmp_path)
    last = run / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:-1])
    content = record(run)
    (run / "run.json").write_text(json.dumps(content | {"status": "failed"}))
    again = call(*given)
    assert again.returncode == 0, again.stderr
    assert f"{last}: damaged, its digest differs from last.ckpt.sha256" in again.stdout
    assert "goes on from" in again.stdout
    assert differences(whole, outcome(run)) == []


def test_steps_that_are_not_finite_are_skipped_within_a_budget(images, tmp_path, monkeypatch):
    def poisoned(at):
        step = ImageClassifier.training_step

        def function(self, batch, batch_idx):
            losses = step(self, batch, batch_idx)
            if self.global_step in at:
                losses["loss"] = losses["loss"] * torch.nan
            return losses

        return function

    given = words(
        images,
        tmp_path,
        "nonfinite=skip",
        "callbacks.meter.budget=2",
        "trainer.log_every_n_steps=1",
    )
    with monkeypatch.context() as patch:
        patch.setattr(ImageClassifier, "training_step", poisoned({3, 7}))
        assert call(*given).returncode == 0
    (run,) = run_dirs(tmp_path)
    state = checkpoint.load_checkpoint(run / "checkpoints/last.ckpt")
    assert all(t.isfinite().all() for t in state["state_dict"].values() if t.is_floating_point())
    assert state["callbacks"]["Meter"]["skipped"] == 2
    with monkeypatch.context() as patch:
        patch.setattr(ImageClassifier, "training_step", poisoned({3, 7, 9}))
        result = call(*given)
    assert result.returncode == 1
    assert "the gradient is not finite at step 10" in result.stderr
