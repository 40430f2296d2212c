"""Which checkpoints a command names, and how fast it says that there is none."""

import sys
from types import SimpleNamespace

import pytest
from entry import PROJECT, command

from deeper.runs import select


def asked(run=None, ckpt=None, files=()):
    return SimpleNamespace(run=run, ckpt=ckpt, files=[*map(str, files)])


@pytest.fixture
def run(tmp_path):
    """A run directory, as far as names go."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "checkpoints/best.ckpt").touch()
    return folder


def test_a_run_is_its_best_checkpoint(run):
    best = run / "checkpoints/best.ckpt"
    assert select.one(asked(run=str(run))) == select.one(asked(ckpt=str(best))) == best
    assert select.several(asked(files=[run])) == [best]


def test_one_network_by_two_names_would_count_twice(run, tmp_path):
    best, other = run / "checkpoints/best.ckpt", tmp_path / "link.ckpt"
    other.symlink_to(best)
    for files in ([run, best], [best, other]):
        with pytest.raises(ValueError, match="is named twice, and would count twice"):
            select.several(asked(files=files))


def test_mistakes_name_the_other_key(run, tmp_path):
    best = run / "checkpoints/best.ckpt"
    for given, message in [
        (
            asked(run=str(best)),
            rf"a file, not a run directory; a checkpoint is named by ckpt={best}$",
        ),
        (asked(ckpt=str(run)), rf"a folder, not a checkpoint file; .* run={run}$"),
        (asked(run=""), "^run=: no such run directory"),
        (asked(), "^say which network: run="),
        (asked(run="/a", ckpt="/b"), "^run=/a and ckpt=/b: both were given; pass one of them$"),
        (asked(run="/a", files=["/b"]), "^/b: pass all networks without run= and ckpt="),
        (asked(files=["/gone.ckpt"]), "^/gone.ckpt: no such checkpoint file; `ls logs"),
    ]:
        with pytest.raises(ValueError, match=message):
            select.several(given)
    best.unlink()
    with pytest.raises(ValueError, match=r"holds no checkpoints/best\.ckpt; the run ended before"):
        select.several(asked(files=[run]))


def test_a_missing_run_is_said_without_torch(tmp_path):
    code = f"""
import sys
import deeper.cli.main as cli, eval, export, predict
for script in (eval, export, predict):
    sys.argv = [f"src/{{script.__name__}}.py", "run=/nowhere", {f"paths.logs={tmp_path}"!r}]
    try:
        cli.start(script.main)
    except SystemExit as ended:
        print("status", ended.code, "torch imported:", "torch" in sys.modules)
"""
    done = command(sys.executable, "-c", code, PYTHONPATH=str(PROJECT / "src"))
    assert done.stdout.count("status 2 torch imported: False") == 3, done.stdout + done.stderr
    assert done.stderr.count("/nowhere: no such run directory") == 3
    assert list(tmp_path.iterdir()) == []
