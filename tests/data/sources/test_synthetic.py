"""The embedded data: repeatable to the byte, generated completely or not at all, and only where the config says."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from entry import run_dirs, shell
from PIL import Image

from deeper.data.sources import synthetic
from deeper.data.sources.synthetic import CLASSES, Synthetic, generate


def digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*.JPEG")
    }


def made_at(root, **settings):
    """The source of a config that may generate at `root`."""
    return Synthetic(root, root.parent / "cache", generate_at=root, **settings)


def elsewhere(root, tmp_path, **settings):
    """The same config with `data.root=root`."""
    return Synthetic(root, tmp_path / "cache", generate_at=tmp_path / "data/synthetic", **settings)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "images"
    generate(root, seed=3, train_per_class=2, val_per_class=1)
    return root


def test_layout_and_sizes(made):
    assert list(CLASSES) == sorted(set(CLASSES))
    assert len(CLASSES) == 10
    for split, count in (("train", 2), ("val", 1)):
        assert sorted(p.name for p in (made / split).iterdir()) == list(CLASSES)
        assert {len(list(folder.iterdir())) for folder in (made / split).iterdir()} == {count}
    sizes = set()
    for path in made.rglob("*.JPEG"):
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            sizes.add(image.size)
    assert len(sizes) > 20
    assert all(100 <= side <= 200 for size in sizes for side in size)


def test_nothing_is_left_beside_the_data(made):
    assert os.listdir(made.parent) == [made.name]
    # A temporary folder's own mode would lock out other users of a shared disk.
    assert made.stat().st_mode & 0o777 == (made / "train").stat().st_mode & 0o777


def test_a_seed_gives_the_same_bytes_and_more_images_leave_the_others(made, tmp_path):
    generate(tmp_path / "more", seed=3, train_per_class=3, val_per_class=2)
    fewer, more = digests(made), digests(tmp_path / "more")
    assert len(more) == 50
    assert len(set(more.values())) == 50
    assert {name: more[name] for name in fewer} == fewer


def test_another_seed_gives_other_images(made, tmp_path):
    generate(tmp_path / "other", seed=4, train_per_class=2, val_per_class=1)
    ours, others = digests(made), digests(tmp_path / "other")
    assert ours.keys() == others.keys()
    assert not set(ours.values()) & set(others.values())


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_interrupted_it_leaves_nothing(tmp_path, monkeypatch, error):
    drawn = []

    def draw(*arguments):
        drawn.append(arguments)
        if len(drawn) == 5:
            raise error
        return original(*arguments)

    original = synthetic.draw
    monkeypatch.setattr(synthetic, "draw", draw)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        generate(tmp_path / "images", train_per_class=1, val_per_class=1)
    assert os.listdir(tmp_path) == []


def test_killed_it_leaves_no_half_made_set(tmp_path):
    """SIGKILL lets nobody tidy up, but `root` must not look complete; the next start makes it."""
    code = (
        "import os, signal, sys; from pathlib import Path; from deeper.data.sources import synthetic as s\n"
        "draw, left = s.draw, iter(range(5))\n"
        "def stop(*a): next(left, None) is None and os.kill(os.getpid(), 9); return draw(*a)\n"
        "s.draw = stop; s.generate(Path(sys.argv[1]), train_per_class=1, val_per_class=1)"
    )
    root = tmp_path / "images"
    package = str(Path(synthetic.__file__).parents[3])
    run = subprocess.run([sys.executable, "-c", code, root], env={"PYTHONPATH": package})
    assert run.returncode == -signal.SIGKILL
    assert not root.exists()
    source = made_at(root, train_per_class=1, val_per_class=1)
    source.prepare()
    assert len(source.load().train) == 10


def test_the_source_generates_once_and_loads(tmp_path, monkeypatch):
    source = made_at(tmp_path / "deep/images", train_per_class=2, val_per_class=1)
    source.prepare()
    monkeypatch.setattr(synthetic, "generate", lambda *_, **__: pytest.fail("generated anew"))
    source.prepare()
    classes, train, val, test = source.load()
    assert classes == list(CLASSES)
    assert (len(train), len(val), len(test)) == (20, 10, 10)
    assert val is test or val.labels.tolist() == test.labels.tolist()


def test_a_misspelt_root_is_not_written_to(tmp_path):
    root = tmp_path / "imagenete"
    source = elsewhere(root, tmp_path)
    message = (
        f"data.root={root} does not exist, so it is no set that data=synthetic generated; did you mean "
        f"data=folder data.root={root}?"
    )
    for step in (source.prepare, source.load):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            step()
    assert os.listdir(tmp_path) == []


def test_photos_are_not_taken_for_the_generated_set(tmp_path, made):
    """Even where they lie in folders of the same names."""
    root = tmp_path / "photos"
    shutil.copytree(made, root, ignore=shutil.ignore_patterns(synthetic.MARKER))
    for step in (elsewhere(root, tmp_path).prepare, elsewhere(root, tmp_path).load):
        with pytest.raises(ValueError, match=rf"did you mean data=folder data\.root={root}\?$"):
            step()
    with pytest.raises(ValueError, match=r"; remove the folder to generate the set anew$"):
        made_at(root).prepare()


def test_a_generated_set_may_lie_elsewhere(tmp_path, made):
    settings = {"seed": 3, "train_per_class": 2, "val_per_class": 1}
    assert len(elsewhere(made, tmp_path, **settings).load().train) == 20
    assert len(elsewhere(made, tmp_path, seed=4).load().train) == 20


def test_edited_settings_do_not_reuse_an_older_set(made):
    message = (
        "'train_per_class': 2, 'val_per_class': 1}, and data.source says {'seed': 0, 'train_per"
    )
    with pytest.raises(ValueError, match=message):
        made_at(made).prepare()


def test_the_command_refuses_a_misspelt_root(tmp_path):
    """`data=folder` was forgotten."""
    root = tmp_path / "imagenete"
    words = [f"paths.{name}={tmp_path / name}" for name in ("data", "cache", "logs")]
    result = shell(f"data.root={root}", *words)
    assert result.returncode == 2, result.stderr
    assert f"did you mean data=folder data.root={root}?" in result.stderr
    assert "Traceback" not in result.stderr
    assert not root.exists()
    assert not run_dirs(tmp_path / "logs")
