"""Which checkpoints a command names, and how fast it says that there is none."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from entry import PROJECT

from deeper.runs import select as networks


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
    assert networks.one(asked(run=str(run))) == networks.one(asked(ckpt=str(best))) == best
    assert networks.several(asked(files=[run])) == [best]


def test_one_network_by_two_names_would_count_twice(run, tmp_path):
    best, other = run / "checkpoints/best.ckpt", tmp_path / "link.ckpt"
    other.symlink_to(best)
    for files in ([run, best], [best, other]):
        with pytest.raises(ValueError, match="is named twice, and would count twice"):
            networks.several(asked(files=files))


def test_mistakes_name_the_other_key(run, tmp_path):
    best = run / "checkpoints/best.ckpt"
    for given, message in [
        (asked(run=str(best)), rf"a file; a checkpoint is named by ckpt={best}$"),
        (asked(ckpt=str(run)), rf"a folder, no checkpoint file; .* run={run}$"),
        (asked(run=""), "^run=: no such run directory"),
        (asked(run="/a", ckpt="/b"), "^say which network: run="),
        (asked(run="/a", files=["/b"]), "^say which networks: "),
        (asked(files=["/gone.ckpt"]), "^/gone.ckpt: no such checkpoint file; `ls logs"),
    ]:
        with pytest.raises(ValueError, match=message):
            networks.several(given)
    best.unlink()
    with pytest.raises(ValueError, match=r"holds no checkpoints/best\.ckpt; the run ended before"):
        networks.several(asked(files=[run]))


@pytest.mark.parametrize("script", ["eval", "predict", "export"])
def test_a_missing_run_is_said_without_torch(script, tmp_path):
    code = (
        f"import sys; sys.argv = ['src/{script}.py', 'run=/nowhere', 'paths.logs={tmp_path}']\n"
        f"import {script}, deeper.cli.main\n"
        f"try: deeper.cli.main.start({script}.main)\n"
        f"except SystemExit as e: sys.exit('torch' in sys.modules and 9 or e.code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT / "src", capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "/nowhere: no such run directory" in done.stderr
