"""A process that is killed while it writes a checkpoint leaves whole files."""

import os
import signal
import time

import pytest
import torch
from driver import randoms

from deeper.checkpoint import contents, load_checkpoint, save_checkpoint
from deeper.files import remove_temporary


def write_for_ever(folder) -> None:
    number = 0
    while True:
        number += 1
        weights = {f"w{i}": torch.full((100_000,), float(number)) for i in range(4)}
        state = {"state_dict": weights, "global_step": number, "deeper": contents({}, ["a"])}
        save_checkpoint(state, folder / "last.ckpt", previous=folder / "previous.ckpt")


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.reliability)])
def test_killed_within_the_writer(tmp_path, monkeypatch, kills):
    """`last` may be missing for an instant; then `previous` is the newest."""
    monkeypatch.setenv("TMPDIR", "/dev/shm")  # another file system, where others stage their files
    random, left = randoms(3), 0
    for _ in range(kills):
        pid = os.fork()
        if pid == 0:
            write_for_ever(tmp_path)
        time.sleep(random.uniform(0.01, 0.15))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for path in tmp_path.glob("*.ckpt"):
            weights = load_checkpoint(path)["state_dict"].values()
            assert len({float(w[0]) for w in weights} | {float(w[-1]) for w in weights}) == 1
        left += len([*tmp_path.glob(".*")])
        remove_temporary(tmp_path)
        assert not [*tmp_path.glob(".*")]
    assert [*tmp_path.glob("*.ckpt")]
    assert left  # else no kill met the writer
