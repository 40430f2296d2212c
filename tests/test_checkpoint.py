"""A file under a checkpoint's name is whole, whatever went wrong while it was written."""

import os
import pickle
import re
import shutil
import signal
import subprocess
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest
import torch

from deeper import checkpoint
from deeper.checkpoint import (
    AtomicCheckpointIO,
    DiskFull,
    contents,
    copy_checkpoint,
    digest_path,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from deeper.signals import Stopped


def state(value=1.0, **more):
    weights = {"net.w": torch.full((50,), value), "preprocess.mean": torch.zeros(3)}
    carried = contents({"seed": 0, "model": {"width": 0.5}}, ["ant", "bee"])
    return {"state_dict": weights, "epoch": 3, "deeper": carried} | more


def value_in(path: Path) -> float:
    return float(load_checkpoint(path)["state_dict"]["net.w"][0])


def strays(folder: Path) -> list[str]:
    """Whatever is neither a checkpoint nor its digest."""
    return sorted(
        p.name for p in folder.iterdir() if not re.search(r"^\w+\.ckpt(\.sha256)?$", p.name)
    )


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "last.ckpt"
    save_checkpoint(state(), path)
    return path


def fail_at(monkeypatch, call: int, module=os, name="replace"):
    """The n-th call of os.replace raises, as a crash there would end the process."""
    calls, original = [], getattr(module, name)

    def replace(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise OSError(28, "No space left on device")
        return original(*arguments)

    monkeypatch.setattr(module, name, replace)


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "folder" / "last.ckpt"
    save_checkpoint(state(2.5), path)
    loaded = load_checkpoint(path)
    assert value_in(path) == 2.5
    assert loaded["deeper"] == state()["deeper"]
    assert loaded["epoch"] == 3
    assert strays(path.parent) == []


def test_torch_reads_it_without_running_code(path):
    assert torch.load(path, weights_only=True).keys() == state().keys()


def test_sha256sum_reads_the_digest(path):
    check = ["sha256sum", "--check", "--strict", digest_path(path).name]
    assert subprocess.run(check, cwd=path.parent, capture_output=True).returncode == 0


def test_lightnings_interface(tmp_path):
    files, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    files.save_checkpoint(state(3.0), str(path))
    assert float(files.load_checkpoint(str(path))["state_dict"]["net.w"][0]) == 3
    files.remove_checkpoint(str(path))
    files.remove_checkpoint(str(path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("beside", [True, False])
def test_a_flipped_bit_anywhere_is_refused(path, beside):
    """With the digest file and without it."""
    if not beside:
        digest_path(path).unlink()
    whole = path.read_bytes()
    for place in [*range(0, len(whole), 37), *range(len(whole) - 100, len(whole))]:
        content = bytearray(whole)
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=f"^{re.escape(str(path))}: damaged, its content differs"
        ):
            load_checkpoint(path)


@pytest.mark.parametrize("digest", [True, False])
@pytest.mark.parametrize("kept", [0, 10, 1000, -1, -64, -65, -66, -70])
def test_a_cut_file_is_refused(path, kept, digest):
    path.write_bytes(path.read_bytes()[:kept])
    if not digest:
        digest_path(path).unlink()
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: (damaged|not a checkpoint)"):
        load_checkpoint(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"/gone\.ckpt: no such checkpoint file$"):
        load_checkpoint(tmp_path / "gone.ckpt")


def test_a_full_disk_leaves_the_old_file(path, monkeypatch):
    def full(checkpoint, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(state(2.0), path)
    assert value_in(path) == 1
    assert strays(path.parent) == []


CALLS = pytest.mark.parametrize("call", [1, 2])
"""The renames of a save: the checkpoint, then its digest file."""


@CALLS
def test_a_crash_at_any_rename_leaves_a_whole_file(path, monkeypatch, call):
    fail_at(monkeypatch, call)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(state(2.0), path)
    assert value_in(path) == (2 if call == 2 else 1)
    monkeypatch.undo()
    save_checkpoint(state(3.0), path)  # the next one finds its way from there
    assert value_in(path) == 3


@CALLS
def test_a_crash_in_a_first_save(tmp_path, monkeypatch, call):
    fail_at(monkeypatch, call)
    path = tmp_path / "last.ckpt"
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(state(2.0), path)
    if call == 2:
        assert value_in(path) == 2
    else:
        with pytest.raises(ValueError, match=r"no such checkpoint file$"):
            load_checkpoint(path)
    monkeypatch.undo()
    save_checkpoint(state(3.0), path)
    assert value_in(path) == 3


@pytest.mark.parametrize(("name", "call"), [("replace", 1), ("replace", 2), ("fsync", 1)])
def test_no_failure_leaves_a_temporary_file(path, monkeypatch, name, call):
    """A disk may be full at the digest, too."""
    fail_at(monkeypatch, call, os, name)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(state(2.0), path)
    assert strays(path.parent) == []


def test_a_full_disk_is_noticed_before_anything_is_written(path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: mock.Mock(free=100))
    monkeypatch.setattr(torch, "save", mock.Mock(side_effect=AssertionError))
    with pytest.raises(
        DiskFull, match=r"last.ckpt: needs 0.0 MB, and 0.0 MB are free; the earlier"
    ):
        save_checkpoint(state(2.0), path)
    assert value_in(path) == 1


def test_the_file_that_is_replaced_may_be_kept(path):
    before = path.with_name("previous.ckpt")
    for value in (2.0, 3.0):
        save_checkpoint(state(value), path, previous=before)
        assert (value_in(before), value_in(path)) == (value - 1, value)


def test_a_copy_is_a_file_of_its_own(path):
    best = path.with_name("best.ckpt")
    copy_checkpoint(path, best)
    assert not best.samefile(path)
    save_checkpoint(state(2.0), path)
    assert (value_in(best), value_in(path)) == (1, 2)
    assert strays(path.parent) == []


def test_the_newest_whole_file_is_used_and_damage_is_said(path, capsys):
    files = [path, *(path.with_name(f"{name}.ckpt") for name in ("previous", "best", "gone"))]
    for number, file in enumerate(files[:3]):
        save_checkpoint(state(global_step=9 - number), file)
    assert newest_checkpoint(files) == path
    assert capsys.readouterr().out == ""
    for damaged, left in pairwise(files[:3]):
        damaged.write_bytes(damaged.read_bytes()[:-100])
        assert newest_checkpoint(files) == left
        assert f"{damaged}: damaged" in (said := capsys.readouterr().out)
        assert f"goes on from {left}, step" in said
    files[2].write_bytes(b"")
    with pytest.raises(ValueError, match=r"last.ckpt: .*\n.*previous.ckpt: .*\n.*best.ckpt: "):
        newest_checkpoint(files)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("with_digest", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, with_digest):
    Bomb.folder = tmp_path / "owned"
    path = tmp_path / "evil.ckpt"
    if with_digest:
        save_checkpoint(state(callbacks=Bomb()), path)
    else:
        path.write_bytes(pickle.dumps({"deeper": Bomb()}, protocol=2))
    with pytest.raises(
        ValueError, match=r"evil\.ckpt: not a checkpoint that loads safely \(Unpick"
    ):
        load_checkpoint(path)
    assert not Bomb.folder.exists()


FOREIGN = {
    "lightning's": ({"state_dict": {}, "epoch": 1}, None),
    "weights alone": ({"w": torch.zeros(2)}, None),
    "a tensor": (torch.zeros(2), None),
    "of the future": ({"deeper": {"format": 99}}, 99),
    "of a namesake": ({"deeper": [1]}, None),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_checkpoint_is_refused(tmp_path, kind):
    content, found = FOREIGN[kind]
    path = tmp_path / "other.ckpt"
    torch.save(content, path)
    message = f"{path}: not a checkpoint of this project's format 2 (found {found})"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_checkpoint(path)


def test_a_file_of_an_earlier_version_says_what_to_do(tmp_path):
    path = tmp_path / "old.ckpt"
    torch.save({"state_dict": {}, "deeper": {"format": 1, "config": {}, "classes": []}}, path)
    message = (
        f"{path}: written by an earlier version (format 1); evaluate it with the version that wrote "
        f"it (commit 8484ce0), or train anew"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_checkpoint(path)


def test_mapped_tensors_survive_the_next_save(path):
    """A loaded checkpoint keeps its content on disk when its name is given to another."""
    mapped = load_checkpoint(path, mmap=True)
    save_checkpoint(state(2.0), path)
    assert float(mapped["state_dict"]["net.w"][0]) == 1


def test_a_signal_while_a_file_is_read_is_no_damage(path, monkeypatch):
    def stopped(*_, **__):
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(torch, "load", stopped)
    with pytest.raises(Stopped):
        load_checkpoint(path)


def test_which_weights():
    averaged = {"w": torch.zeros(1)}
    both = state(averaged_state_dict=averaged)
    assert checkpoint.network_state(both) is averaged
    assert checkpoint.network_state(both, "live").keys() == {"w"}
    assert checkpoint.network_state(state(), "averaged")["w"][0] == 1  # there are no others
    with pytest.raises(ValueError, match=r"^weights=best: choose averaged or live$"):
        checkpoint.network_state(both, "best")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            ["ant", "cat"],
            "the checkpoint was trained on 2 classes, the data has 2, first at 1: 'bee' against "
            "'cat'; evaluate on data of the same classes, or train anew",
        ),
        (
            ["ant", "bee", "cat"],
            "the checkpoint was trained on 2 classes, the data has 3; "
            "evaluate on data of the same classes, or train anew",
        ),
    ],
)
def test_other_classes(classes, message):
    checkpoint.require_classes(state(), ["ant", "bee"])
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        checkpoint.require_classes(state(), classes)


def test_a_full_disk_is_said_in_plain_words(path, monkeypatch):
    """torch's writer answers it with an error of its own."""

    def full(*_):
        try:
            raise OSError(28, "No space left on device")
        finally:
            raise RuntimeError("unexpected pos 41142400 vs 41142288")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        OSError, match=r"last.ckpt: no space left on the disk; .* is intact: make room"
    ):
        save_checkpoint(state(2.0), path)
    assert value_in(path) == 1
    assert strays(path.parent) == []
