"""prepare: what it lists, what it refuses, and that a kill at any instant costs no byte."""

import hashlib
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import imagenet_forms as forms
import numpy as np
import pytest
from entry import PROJECT, call, hear_ctrl_c
from filelock import FileLock
from photos import UNREADABLE, digests, jpeg, make, prepare, spoil

from deeper.config.check import check_prepare
from deeper.config.errors import ConfigError
from deeper.data import manifest
from deeper.data.images.encoded import Encoded
from deeper.data.images.stored import FileImages
from deeper.data.layouts import packed
from deeper.data.manifest import read_table, readable
from deeper.data.quarantine import without_bad
from deeper.data.source import Splits
from deeper.data.sources.folder import Folder
from deeper.prepare import checksums, verify
from deeper.prepare import prepare as preparing
from deeper.prepare.verify import Resize, Verifier

SMALL = Resize(40, 90)

# The real command, with many small batches and shards.
DRIVER = """
import sys
if __name__ == "__main__":
    import prepare
    from deeper.cli import main as cli
    from deeper.prepare import verify
    from deeper.prepare import prepare as preparing
    verify.IMAGES, preparing.SHARD_BYTES = 12, 30_000
    sys.argv[0] = "prepare.py"
    cli.start(prepare.main)
"""


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(verify, "IMAGES", 3)
    monkeypatch.setattr(preparing, "SHARD_BYTES", 5_000)


@pytest.fixture
def opened(monkeypatch):
    """The indices of the images that are opened in this process, `opened.stop_at` of them at most."""

    class Opened(list):
        stop_at = None

    indices = Opened()

    def row(self, index, original=Verifier.row):
        indices.append(index)
        if len(indices) == indices.stop_at:
            raise KeyboardInterrupt
        return original(self, index)

    monkeypatch.setattr(Verifier, "row", row)
    return indices


def start(driver: Path, *words: str, **environment: str) -> subprocess.Popen:
    driver.write_text(DRIVER)
    own = {"PYTHONPATH": str(PROJECT / "src"), "OMP_NUM_THREADS": "1"}
    with driver.with_suffix(".err").open("w") as errors:
        return subprocess.Popen(
            [sys.executable, str(driver), *words],
            env=dict(os.environ) | own | environment,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
        )


def ours(place: Path) -> dict[str, str]:
    """Digests of the packed form and of the manifest: what else is in the cache has times in it."""
    manifests = {f"manifests/{n}": d for n, d in digests(place / "cache/manifests").items()}
    return manifests | {f"out/{name}": digest for name, digest in digests(place / "out").items()}


def all_have_ended(mark: str) -> bool:
    """Whether no process is left that was started with a word in its environment (Linux)."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        alive = False
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                alive |= f"MARK={mark}".encode() in path.read_bytes()
        if not alive:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("kills", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_kills_cost_no_byte(tmp_path, monkeypatch, kills):
    """Soon after a random number of files was written; workers end, too. Then it is run to its end."""
    root = make(tmp_path / "root", each=50, size=(300, 200))
    spoil(root)
    clean, killed = tmp_path / "clean", tmp_path / "killed"
    monkeypatch.setattr(verify, "IMAGES", 12)
    monkeypatch.setattr(preparing, "SHARD_BYTES", 30_000)
    prepare(root, clean / "cache", clean / "out", resize=Resize(100, 90), quarantine=True)
    assert len(list((clean / "out").glob("train-*.arrow"))) > 3
    assert not [name for name in ours(clean) if "/." in name]
    random, driver = Random(2014), tmp_path / "driver.py"
    words = [
        f"data.root={root}", f"paths.cache={killed}/cache", f"out={killed}/out", "pack=true",
        "size=100", "on_bad=quarantine",
    ]  # fmt: skip
    for number in range(kills + 1):
        process = start(driver, *words, f"workers={2 * (number % 2)}", MARK=str(killed))
        until = written(killed) + random.randint(1, 6) if number < kills else math.inf
        while process.poll() is None and written(killed) < until:
            time.sleep(0.001)
        if number < kills and process.poll() is None:
            time.sleep(random.uniform(0, 0.01))
            process.kill()
            process.wait()
            print(f"killed with {written(killed)} files")
            assert all_have_ended(str(killed))
    assert process.returncode == 0, driver.with_suffix(".err").read_text()
    assert ours(killed) == ours(clean)


def written(place: Path) -> int:
    """Tables and shards that are complete."""
    return len(list(place.glob("out/**/*.arrow")))


def test_ctrl_c(tmp_path):
    """Ends workers too, at once and without a traceback."""
    root, out = make(tmp_path / "root", each=50, size=(300, 200)), tmp_path / "out"
    driver = tmp_path / "driver.py"
    words = [f"data.root={root}", f"paths.cache={tmp_path / 'cache'}", f"out={out}", "pack=true"]
    process = start(driver, *words, "workers=2", MARK=tmp_path.name)
    while process.poll() is None and not list(out.glob(".partial-*/*.arrow")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 130
    assert driver.with_suffix(".err").read_text() == ""
    assert all_have_ended(tmp_path.name)


class Killed(Verifier):
    def __getitem__(self, places):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed(tmp_path, small_shards):
    """By lack of memory, say."""
    root = make(tmp_path / "root")
    classes, train, _, _ = Folder(str(root), str(tmp_path / "cache")).load()
    with pytest.raises(ValueError, match=r"a worker process was killed, .* workers=1: it continue"):
        list(verify.verify(Killed("train", train, classes), 0, 2))


@pytest.mark.parametrize("out", [None, "out"])
def test_a_restart_skips_what_is_done(tmp_path, small_shards, opened, out):
    root, cache, out = make(tmp_path / "root"), tmp_path / "cache", out and tmp_path / out
    opened.stop_at = 14
    with pytest.raises(KeyboardInterrupt):
        prepare(root, cache, out, resize=SMALL)
    done = sum(len(read_table(path)) for path in tmp_path.rglob(".partial-*/*.arrow"))
    assert done >= 3
    prepare(root, cache, out, resize=SMALL)
    assert len(opened) == 14 + 24 - done
    assert not list(tmp_path.rglob(".partial*"))
    assert out is None or len(packed.load_splits(out).train) == 12


def test_what_is_packed_already_is_left_as_it_is(tmp_path, opened, capsys, monkeypatch):
    """By a run that was killed before it removed what it had kept for a restart."""
    root, cache, out = make(tmp_path / "root"), tmp_path / "cache", tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path: None)
        prepare(root, cache, out, resize=SMALL)
    said = capsys.readouterr().out.splitlines()
    before = {path: path.stat().st_mtime_ns for path in out.glob("[!.]*")}
    opened.clear()
    prepare(root, cache, out, resize=SMALL)
    assert capsys.readouterr().out.splitlines() == said[-1:]
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert opened == []


def replace(path: Path, content: bytes) -> None:
    """Another file of the same size and mtime, as one that was unpacked again has."""
    before = path.stat()
    assert before.st_size == len(content)
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_was_replaced_is_opened_again(tmp_path, small_shards, monkeypatch):
    """In the groups that a refused run has finished: another picture, and one that could not be read."""
    root, cache, out = make(tmp_path / "root"), tmp_path / "cache", tmp_path / "out"
    path, bad = root / "train/bee/0002.JPEG", root / "train/ant/0001.JPEG"
    good = path.read_bytes()
    other = good[:-30] + good[-30:-2][::-1] + good[-2:]  # decodes, to other pixels
    read = FileImages.read

    def faulty(self, index):
        """Of a disk that works again the next time: nothing of the file changes."""
        if self.name(index) == "train/ant/0001.JPEG":
            raise OSError(5, "Input/output error")
        return read(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(FileImages, "read", faulty)
        with pytest.raises(ValueError, match=r"1 of 24 images .*\n  train/ant/0001.JPEG: Input/o"):
            prepare(root, cache, out)
        replace(path, other)
        with pytest.raises(ValueError, match="1 of 24 images cannot be read"):
            prepare(root, cache, out)
    replace(path, good)
    prepare(root, cache, out)
    found = packed.load_splits(out).train
    names = [found.name(i) for i in range(len(found))]
    assert found.read(names.index("train/bee/0002.JPEG")) == good
    assert found.read(names.index("train/ant/0001.JPEG")) == bad.read_bytes()


def test_exactly_the_unreadable_are_listed(tmp_path):
    root, cache = make(tmp_path / "root", each=10), tmp_path / "cache"
    bad, odd = spoil(root, each=2)
    before = digests(root)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        prepare(root, cache)
    head, *lines, advice = str(error.value).splitlines()
    assert head == f"{len(bad)} of {60 + len(bad) + len(odd)} images cannot be read:"
    assert sorted(line.strip().partition(": ")[0] for line in lines) == bad
    assert "on_bad=quarantine" in advice
    (full,) = cache.glob("manifests/*/bad.txt")
    assert full.read_text().splitlines() == [line.strip() for line in lines]
    assert digests(root) == before

    found = prepare(root, cache, quarantine=True)
    assert sorted(name for _, name, _ in found.bad()) == bad
    good = int(readable(found.splits["train"]).sum())
    assert good + len(bad) == len(found.splits["train"]) == 30 + len(bad) + len(odd)
    reasons = {name.rpartition("/")[2][:-7]: why for _, name, why in found.bad()}
    assert set(reasons) == set(UNREADABLE)
    assert reasons["dangling"] == "No such file or directory"
    assert reasons["empty"] == "the file is empty"
    assert "30000" in reasons["bomb"]
    for why in reasons.values():
        assert "prepare.py" not in why
        assert "0x" not in why
        assert str(tmp_path) not in why


@pytest.mark.parametrize("form", ["archives", "parquet"])
def test_images_in_archives_and_parquet_files(form, tmp_path):
    root, cache = tmp_path / "root", tmp_path / "cache"
    forms.FORMS[form](root, forms.miniature())
    found = prepare(root, cache, tmp_path / "out", quarantine=True)
    assert readable(found.splits["train"]).sum() == 15
    assert (found.splits["val"]["height"].to_numpy() >= 64).all()
    splits = Folder(root, cache).load()
    assert without_bad(splits, root, cache, "strict")[1] == (True, 25, 0)


def test_packed_with_bad_images(tmp_path, small_shards):
    root, cache, out = make(tmp_path / "root"), tmp_path / "cache", tmp_path / "out"
    bad, odd = spoil(root)
    (root / "val/cat/z.JPEG").write_text("?")  # in the group after the last full one
    with pytest.raises(ValueError, match="cannot be read"):
        prepare(root, cache, out, resize=SMALL)
    assert not (out / "packed.json").exists()
    prepare(root, cache, out, resize=SMALL, quarantine=True)
    about = json.loads((out / "packed.json").read_text())["splits"]["train"]
    assert sorted(entry["name"] for entry in about["quarantined"]) == bad
    train = packed.load_splits(out).train
    names = [train.name(i) for i in range(len(train))]
    assert len(names) == about["images"] == 12 + len(odd)
    assert not set(names) & set(bad)
    assert set(odd) < set(names)
    assert names == sorted(names)
    for i in range(len(train)):
        pixels, _ = train[i][0].pixels()
        assert min(pixels.shape[:2]) <= 40


def test_a_shard_without_a_readable_image(tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "IMAGES", 1)
    monkeypatch.setattr(preparing, "SHARD_BYTES", 1)
    root = make(tmp_path / "root", each=2)
    (root / "val/cat/0001.JPEG").write_text("?")
    prepare(root, tmp_path / "cache", tmp_path / "out", quarantine=True)
    assert len(list((tmp_path / "out").glob("val-*.arrow"))) == 6
    assert len(packed.load_splits(tmp_path / "out").val) == 5


def test_a_small_picture_keeps_its_bytes_and_a_large_one_its_shape(tmp_path):
    root = make(tmp_path / "root", each=1)
    (root / "train/ant/0000.JPEG").write_bytes(jpeg(1, (400, 80)))
    (root / "train/bee/0000.JPEG").write_bytes(jpeg(2, (300, 40)))
    prepare(root, tmp_path / "cache", tmp_path / "out", resize=SMALL)
    train = packed.load_splits(tmp_path / "out").train
    first, second = (Encoded(train.read(i), "") for i in (0, 1))
    assert first.size == (200, 40)
    original = Encoded(jpeg(1, (400, 80)), "").pil().resize((200, 40), 1)
    assert np.abs(np.asarray(original, float) - first.pixels()[0]).mean() < 3
    assert train.read(1) == jpeg(2, (300, 40))
    assert second.size == (300, 40)


def test_a_read_only_root_and_nothing_written_in_it(tmp_path):
    root = make(tmp_path / "root")
    before = digests(root)
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    prepare(root, tmp_path / "cache", tmp_path / "out", resize=SMALL)
    assert digests(root) == before


def test_a_full_disk(tmp_path, small_shards):
    """An error that says what to do, no file that is incomplete, and the same call continues."""
    root, cache, out = make(tmp_path / "root"), tmp_path / "cache", tmp_path / "out"
    prepare(root, cache)  # what lists the images is in the cache already
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
    try:
        with pytest.raises(ValueError, match=r"File too large .* room or choose another folder, a"):
            prepare(root, cache, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (out / "packed.json").exists()
    assert not list(out.rglob(".*.arrow*"))
    prepare(root, cache, out)
    assert len(packed.load_splits(out).train) == 12


def in_root(tmp_path):
    return tmp_path / "root/packed", "lies in data.root="


def a_file(tmp_path):
    (tmp_path / "file").write_text("?")
    return tmp_path / "file", "is a file; choose a folder"


def others(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.jpg").write_text("?")
    return tmp_path / "photos", "way (mine.jpg); choose an empty or a new folder"


def of_another_size(tmp_path):
    prepare(tmp_path / "root", tmp_path / "cache", tmp_path / "made", resize=Resize(50, 90))
    return tmp_path / "made", "holds other files, or other images packed, or packed in another way"


def of_other_images(tmp_path):
    root = make(tmp_path / "other", each=2)
    prepare(root, tmp_path / "cache", tmp_path / "made", resize=SMALL)
    return tmp_path / "made", "holds other files, or other images packed"


def unfinished(tmp_path):
    root = make(tmp_path / "other", each=2)
    (root / "val/bee/0000.JPEG").write_text("?")
    with pytest.raises(ValueError, match="1 of 12 images cannot be read"):
        prepare(root, tmp_path / "cache", tmp_path / "half", resize=SMALL)
    return tmp_path / "half", "holds other files, or other images packed"


@pytest.mark.parametrize(
    "case", [in_root, a_file, others, of_another_size, of_other_images, unfinished]
)
def test_a_wrong_out(tmp_path, case):
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    out, words = case(tmp_path)
    before = digests(tmp_path / "root"), digests(out) if out.is_dir() else None
    with pytest.raises(ValueError, match=f"^out={out}: ") as error:
        prepare(root, cache, out, resize=SMALL)
    assert words in str(error.value)
    assert (digests(tmp_path / "root"), digests(out) if out.is_dir() else None) == before


def test_two_at_once(tmp_path):
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    folder = manifest.folder(cache, root)
    folder.mkdir(parents=True)
    with (
        FileLock(folder / "lock"),
        pytest.raises(ValueError, match="another prepare is at work there; let it end"),
    ):
        prepare(root, cache)
    prepare(root, cache)


def test_a_class_of_which_nothing_is_left(tmp_path):
    root = make(tmp_path / "root", each=1)
    (root / "val/bee/0000.JPEG").write_text("?")
    with pytest.raises(ValueError, match=r"^val has no good image of class bee; mend its images"):
        prepare(root, tmp_path / "cache", quarantine=True)


def test_images_that_lie_in_no_files(tmp_path):
    class Pickled:
        def prepare(self): ...

        def load(self):
            part = [1, 2]
            return Splits(["a"], part, part, part)

    with pytest.raises(ValueError, match="do not lie in files one by one"):
        preparing.prepare(Pickled(), tmp_path / "root", tmp_path / "cache")


def test_official_archives(tmp_path, monkeypatch, capsys):
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    for name, content in (("val", b"val"), ("train", b"TRAIN")):
        (root / f"ILSVRC2012_img_{name}.tar").write_bytes(content)
        published = hashlib.md5(name.encode()).hexdigest()
        monkeypatch.setitem(checksums.OFFICIAL, f"ILSVRC2012_img_{name}.tar", published)
    found = hashlib.md5(b"TRAIN").hexdigest()
    with pytest.raises(ValueError, match=f"ILSVRC2012_img_train.tar has MD5 {found}, published is"):
        prepare(root, cache, layout="folders")
    prepare(root, cache, layout="folders", quarantine=True)
    said = capsys.readouterr().out
    assert "official  ILSVRC2012_img_val.tar as published" in said
    assert f"official  ILSVRC2012_img_train.tar has MD5 {found}, published" in said


def test_the_command(tmp_path):
    root = make(tmp_path / "root", each=4)
    words = [f"data.root={root}", f"paths.cache={tmp_path / 'cache'}"]
    result = call(*words, script="prepare")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == f"data      3 classes from {root}"
    assert lines[1].startswith("train     12 images, 4 a class, ")
    assert lines[-1] == f"next      python src/train.py data=folder data.root={root}"
    tolerant = call(*words, "on_bad=quarantine", script="prepare").stdout
    assert tolerant.endswith(" data.bad=quarantine\n")
    words += ["pack=true", f"out={tmp_path / 'out'}", "size=50"]
    result = call(*words, script="prepare")
    assert result.stdout.splitlines()[-2].startswith(
        "packed    12 train · 12 val images in 2 shards, "
    )
    assert min(packed.load_splits(tmp_path / "out").train[0][0].size) == 50
    (root / "val/bee/0000.JPEG").write_text("?")
    result = call(*words[:2], script="prepare")
    assert result.returncode == 2
    assert result.stderr.startswith("\n1 of 24 images cannot be read:\n  val/bee/0000.JPEG: ")


def test_mistakes_are_said_at_once(configs):
    words = ["data.limit=9", "pack=true", "size=big", "quality=0", "workers=-1"]
    with pytest.raises(ConfigError) as error:
        check_prepare(configs(*words, name="prepare"))
    assert error.value.problems == [
        "data.root: required; pass data.root=<value>",
        "quality=0: must be at least 1",
        "workers=-1: must be at least 0",
        "data.limit=9: prepare opens every image; leave it out",
        "pack=true and out=<a folder for the packed form> need one another",
        "size=big: must be original or an integer",
    ]


def test_a_source_that_is_not_trusted(configs):
    words = ["data.root=/x", "data.source._target_=os.system"]
    with pytest.raises(ConfigError, match=r"data.source: _target_ 'os.system' is not trusted"):
        check_prepare(configs(*words, name="prepare"))


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").write_text("a file")
    root = make(tmp_path / "root", each=1)
    with pytest.raises(
        ValueError, match=r"^paths.cache=.*: cannot be written \(.*\); pass paths.cache="
    ):
        prepare(root, tmp_path / "cache")
