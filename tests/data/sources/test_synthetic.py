"""The embedded data: repeatable to the byte, all of it or nothing."""

import hashlib
import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from deeper.data.sources import synthetic
from deeper.data.sources.synthetic import CLASSES, Synthetic, generate


def digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*.JPEG")
    }


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


def test_what_is_there_is_never_overwritten(made):
    with pytest.raises(FileExistsError, match=r"exists: remove it to generate the data anew$"):
        generate(made)


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
        "import os, signal, sys; from pathlib import Path; from deeper.data import synthetic as s\n"
        "draw, left = s.draw, iter(range(5))\n"
        "def stop(*a): next(left, None) is None and os.kill(os.getpid(), 9); return draw(*a)\n"
        "s.draw = stop; s.generate(Path(sys.argv[1]), train_per_class=1, val_per_class=1)"
    )
    root = tmp_path / "images"
    package = os.path.dirname(os.path.dirname(os.path.dirname(synthetic.__file__)))
    run = subprocess.run([sys.executable, "-c", code, root], env={"PYTHONPATH": package})
    assert run.returncode == -signal.SIGKILL
    assert not root.exists()
    source = Synthetic(str(root), train_per_class=1, val_per_class=1)
    source.prepare()
    assert len(source.load().train) == 10


def test_the_source_generates_once_and_loads(tmp_path, monkeypatch):
    source = Synthetic(str(tmp_path / "deep/images"), train_per_class=2, val_per_class=1)
    source.prepare()
    monkeypatch.setattr(synthetic, "generate", lambda *_, **__: pytest.fail("generated anew"))
    source.prepare()
    classes, train, val, test = source.load()
    assert classes == list(CLASSES)
    assert (len(train), len(val), len(test)) == (20, 10, 10)
    assert val is test or val.labels.tolist() == test.labels.tolist()


@pytest.mark.parametrize("counts", [{"train_per_class": 0}, {"val_per_class": 0}])
def test_refuses_an_empty_split(tmp_path, counts):
    with pytest.raises(ValueError, match=r"^train_per_class and val_per_class must be at least 1$"):
        Synthetic(str(tmp_path), **counts)
