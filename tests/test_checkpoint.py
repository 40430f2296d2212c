"""A file under a checkpoint's name is whole, whatever went wrong while it was written."""

import os
import pickle
import re
import subprocess
from pathlib import Path

import pytest
import torch

from deeper import checkpoint
from deeper.checkpoint import (
    AtomicCheckpointIO,
    contents,
    digest_path,
    link_checkpoint,
    load_checkpoint,
    save_checkpoint,
)


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


@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_is_refused(path, where):
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)
    message = f"^{re.escape(str(path))}: damaged, its digest differs from last.ckpt.sha256$"
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize("digest", [True, False])
@pytest.mark.parametrize("kept", [0, 10, 1000])
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
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(state(2.0), path)
    assert value_in(path) == 1
    assert strays(path.parent) == []


CALLS = pytest.mark.parametrize("call", [1, 2, 3])
"""The renames of a save: digests of old and new, the checkpoint, its digest alone."""


@CALLS
def test_a_crash_at_any_rename_leaves_a_whole_file(path, monkeypatch, call):
    fail_at(monkeypatch, call)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(state(2.0), path)
    assert value_in(path) == (2 if call == 3 else 1)
    monkeypatch.undo()
    save_checkpoint(state(3.0), path)  # the next one finds its way from there
    assert value_in(path) == 3


@CALLS
def test_a_crash_in_a_first_save(tmp_path, monkeypatch, call):
    fail_at(monkeypatch, call)
    path = tmp_path / "last.ckpt"
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(state(2.0), path)
    if call == 3:
        assert value_in(path) == 2
    else:
        with pytest.raises(ValueError, match=r"no such checkpoint file$"):
            load_checkpoint(path)
    monkeypatch.undo()
    save_checkpoint(state(3.0), path)
    assert value_in(path) == 3


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        (os, "replace", 2),
        (os, "replace", 1),
        (os, "fsync", 2),
    ],
)
def test_no_failure_leaves_a_temporary_file(path, monkeypatch, module, name, call):
    """A disk may be full at the digest, too."""
    fail_at(monkeypatch, call, module, name)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(state(2.0), path)
    assert strays(path.parent) == []


def test_a_crash_over_a_file_that_came_without_a_digest(path, monkeypatch):
    digest_path(path).unlink()
    fail_at(monkeypatch, 2)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(state(2.0), path)
    assert value_in(path) == 1


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_link_keeps_its_content(path, monkeypatch, hard_links):
    if not hard_links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(95, "no links")))
    best = path.with_name("best.ckpt")
    for value in (1.0, 2.0):
        save_checkpoint(state(value), path)
        link_checkpoint(path, best)
        save_checkpoint(state(value + 5), path)
        assert (value_in(best), value_in(path)) == (value, value + 5)
    path.unlink()
    assert value_in(best) == 2
    assert strays(path.parent) == []


@CALLS
def test_a_crash_while_linking(path, monkeypatch, call):
    best = path.with_name("best.ckpt")
    link_checkpoint(path, best)
    save_checkpoint(state(2.0), path)
    fail_at(monkeypatch, call)
    with pytest.raises(OSError, match="No space left"):
        link_checkpoint(path, best)
    assert (value_in(best), value_in(path)) == (2 if call == 3 else 1, 2)


def test_a_link_made_twice_leaves_no_temporary_file(path):
    for _ in range(2):
        link_checkpoint(path, path.with_name("best.ckpt"))
    assert strays(path.parent) == []


def test_a_link_to_what_a_crash_left(path, monkeypatch):
    fail_at(monkeypatch, 2)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(state(2.0), path)
    monkeypatch.undo()
    link_checkpoint(path, path.with_name("best.ckpt"))
    assert value_in(path.with_name("best.ckpt")) == 1


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
        OSError, match=r"last.ckpt: No space left on the disk; .* is intact: make room"
    ):
        save_checkpoint(state(2.0), path)
    assert value_in(path) == 1
    assert strays(path.parent) == []
