"""prepare: what it lists, what it refuses, and that a kill at any instant costs no byte."""

import hashlib
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from entry import PROJECT, command, hear_ctrl_c, shell
from photos import UNREADABLE, digests, jpeg, make, prepare, spoil

from deeper.config.errors import ConfigError
from deeper.data import manifest
from deeper.data.images.encoded import Encoded
from deeper.data.layouts import packed
from deeper.data.sources.folder import Folder
from deeper.prepare import checksums, verify
from deeper.prepare import prepare as preparing
from deeper.prepare.request import preparation
from deeper.prepare.verify import Resize, Verifier

SMALL = Resize(40, 90)
LOCK = "out/.partial/lock"

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


def refused(result) -> str:
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr.strip()


def start(driver: Path, *words: str, group=False, **environment: str) -> subprocess.Popen:
    own = {"PYTHONPATH": str(PROJECT / "src"), "OMP_NUM_THREADS": "1"}
    with driver.with_suffix(".err").open("w") as errors:
        return subprocess.Popen(
            [sys.executable, str(driver), *words],
            env=dict(os.environ) | own | environment,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=group,
            preexec_fn=hear_ctrl_c,
        )


def ours(place: Path) -> dict[str, str]:
    """Digests of the packed form and of the manifest: what else is in the cache has times in it."""
    manifests = {f"manifests/{n}": d for n, d in digests(place / "cache/manifests").items()}
    found = manifests | {f"out/{name}": digest for name, digest in digests(place / "out").items()}
    return {name: digest for name, digest in found.items() if not name.endswith("/lock")}


def at_work(process: subprocess.Popen, place: Path) -> None:
    """Returns when the command has imported what it needs, or has ended."""
    while process.poll() is None and not (place / LOCK).exists():
        time.sleep(0.01)


def marked(mark: str) -> list[int]:
    """Processes that were started with a word in their environment (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"MARK={mark}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("kills", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_kills_cost_no_byte(tmp_path, kills):
    """At random instants of the command, whose workers end with it; then it is run to its end."""
    root = make(tmp_path / "root", each=50, size=(300, 200))
    spoil(root)
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)

    def words(place: Path) -> list[str]:
        return [
            f"data.root={root}", f"paths.cache={place}/cache", f"out={place}/out", "pack=true",
            "size=100", "on_bad=quarantine",
        ]  # fmt: skip

    clean, killed = tmp_path / "clean", tmp_path / "killed"
    process = start(driver, *words(clean), "workers=0")
    at_work(process, clean)
    began = time.monotonic()
    assert process.wait(120) == 0, driver.with_suffix(".err").read_text()
    seconds = time.monotonic() - began
    assert len(list((clean / "out").glob("train-*.arrow"))) > 3
    assert not [name for name in ours(clean) if "/." in name]
    instants, stood, ends = random.Random(2014), [], 0
    while len(stood) < kills or ends == 0:
        (killed / LOCK).unlink(missing_ok=True)
        workers = f"workers={2 * instants.randint(0, 1)}"
        process = start(driver, *words(killed), workers, MARK=str(killed))
        at_work(process, killed)
        try:
            process.wait(instants.uniform(0, seconds) if len(stood) < kills else 120)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            folders = (killed / "out/.partial", killed / "out")
            stood.append(tuple(len(list(folder.glob("*.arrow"))) for folder in folders))
            deadline = time.monotonic() + 10
            while marked(str(killed)):
                assert time.monotonic() < deadline, "workers outlive the command"
                time.sleep(0.05)
            continue
        assert process.returncode == 0, driver.with_suffix(".err").read_text()
        ends += 1
        assert ours(killed) == ours(clean)
        shutil.rmtree(killed)
    print(f"killed with (tables, shards) {stood}; {ends} ends; {seconds:.1f} s of work in one go")


def test_ctrl_c(tmp_path):
    """Ends workers too, at once and without a traceback."""
    root, out = make(tmp_path / "root", each=50, size=(300, 200)), tmp_path / "out"
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    words = [f"data.root={root}", f"paths.cache={tmp_path / 'cache'}", f"out={out}", "pack=true"]
    process = start(driver, *words, "workers=2", MARK=tmp_path.name, group=True)
    while process.poll() is None and not list((out / ".partial").glob("*.arrow")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 130
    assert driver.with_suffix(".err").read_text() == ""
    time.sleep(0.2)
    assert marked(tmp_path.name) == []


class Killed(Verifier):
    def __getitem__(self, places):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed(tmp_path, small_shards):
    """By lack of memory, say."""
    root = make(tmp_path / "root")
    classes, train, _, _ = Folder(str(root), str(tmp_path / "cache")).load()
    with pytest.raises(ValueError, match=r"a worker process was killed, .* workers=1: it goes on"):
        list(verify.verify(Killed("train", train, classes, None, None), 0, 2))


@pytest.mark.parametrize("out", [None, "out"])
def test_a_restart_skips_what_is_done(tmp_path, small_shards, monkeypatch, out):
    root, cache, out = make(tmp_path / "root"), tmp_path / "cache", out and tmp_path / out
    opened = []

    def verified(self, index, listed, original=Verifier.verified):
        opened.append(index)
        if len(opened) == 14:
            raise KeyboardInterrupt
        return original(self, index, listed)

    monkeypatch.setattr(Verifier, "verified", verified)
    with pytest.raises(KeyboardInterrupt):
        prepare(root, cache, out, resize=SMALL)
    done = sum(
        len(pa.ipc.open_file(str(path)).read_all()) for path in tmp_path.rglob(".partial/*.arrow")
    )
    assert done >= 3
    prepare(root, cache, out, resize=SMALL)
    assert len(opened) == 14 + 24 - done
    assert out is None or len(packed.load_splits(out).train) == 12


def test_a_rerun_is_a_no_op(tmp_path, small_shards, monkeypatch, capsys):
    root, cache, out = make(tmp_path / "root"), tmp_path / "cache", tmp_path / "out"
    prepare(root, cache)
    prepare(root, cache, out, resize=SMALL)
    said = capsys.readouterr().out.splitlines()[6:]
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    monkeypatch.setattr(Verifier, "verified", None)  # no image is opened again
    prepare(root, cache)
    capsys.readouterr()
    prepare(root, cache, out, resize=SMALL)
    assert capsys.readouterr().out.splitlines() == said
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_a_worker_maps_the_earlier_manifest_once(tmp_path, small_shards, monkeypatch):
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    prepare(root, cache)
    path = manifest.folder(cache, root) / manifest.FILE
    classes, train, _, _ = Folder(str(root), str(cache)).load()
    opened, read = [], manifest.Manifest.read
    monkeypatch.setattr(manifest.Manifest, "read", lambda path: opened.append(path) or read(path))
    verifier = Verifier("train", train, classes, None, path)
    assert len(list(verify.verify(verifier, 0, 0))) == 4
    assert opened == [path]
    assert "_earlier_rows" not in vars(pickle.loads(pickle.dumps(verifier)))


def test_what_was_mended_is_looked_at_again(tmp_path, small_shards):
    """A file of another size, and one that was bad whatever its size."""
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    good = (root / "train/bee/0002.JPEG").read_bytes()
    (root / "train/bee/0002.JPEG").write_bytes(bytes(len(good)))
    with pytest.raises(ValueError, match="1 of 24 images cannot be read"):
        prepare(root, cache)
    (root / "train/bee/0002.JPEG").write_bytes(good)
    assert prepare(root, cache).bad() == []
    (root / "val/cat/0000.JPEG").write_bytes(good[:-100])
    with pytest.raises(ValueError, match=r"\n  val/cat/0000.JPEG: "):
        prepare(root, cache)


def replace(path: Path, content: bytes) -> None:
    """Another file of the same size and time."""
    before = path.stat()
    assert before.st_size == len(content)
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_that_was_replaced_is_looked_at_again(tmp_path, small_shards):
    """Unpacked again, it has the old size and mtime; it may be another picture now."""
    root, cache, out = make(tmp_path / "root"), tmp_path / "cache", tmp_path / "out"
    path = root / "train/bee/0002.JPEG"
    good = path.read_bytes()
    prepare(root, cache)
    replace(path, good[:-40] + bytes(40))
    with pytest.raises(ValueError, match=r"\n  train/bee/0002.JPEG: "):
        prepare(root, cache)
    other = good[:-30] + good[-30:-2][::-1] + good[-2:]  # decodes, to other pixels
    replace(path, other)
    prepare(root, cache)
    replace(path, good)
    prepare(root, cache, out, resize=None)
    found = packed.load_splits(out).train
    names = [found.name(i) for i in range(len(found))]
    assert bytes(found.read(names.index("train/bee/0002.JPEG"))) == good


def test_exactly_the_unreadable_are_listed(tmp_path):
    root, cache = make(tmp_path / "root", each=50), tmp_path / "cache"
    bad, odd = spoil(root, each=5)
    before = digests(root)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        prepare(root, cache)
    head, *lines, advice = str(error.value).splitlines()
    assert head == f"{len(bad)} of {300 + len(bad) + len(odd)} images cannot be read:"
    assert sorted(line.strip().partition(": ")[0] for line in lines) == bad
    assert all(line.partition(": ")[2] for line in lines)
    assert "on_bad=quarantine" in advice
    (full,) = cache.glob("manifests/*/bad.txt")
    assert full.read_text().splitlines() == [line.strip() for line in lines]
    assert digests(root) == before

    found = prepare(root, cache, quarantine=True)
    assert sorted(name for _, name, _ in found.bad()) == bad
    good = int(found.good("train").sum())
    assert good + len(bad) == found.counts["train"] == 150 + len(bad) + len(odd)
    again = prepare(root, tmp_path / "another", quarantine=True)
    assert again.table.equals(found.table)  # reasons too


def test_reasons_are_words_of_their_own(tmp_path):
    root = make(tmp_path / "root", each=1)
    spoil(root)
    found = prepare(root, tmp_path / "cache", quarantine=True)
    reasons = {name.rpartition("/")[2][:-7]: why for _, name, why in found.bad()}
    assert reasons["dangling"] == "No such file or directory"
    assert reasons["empty"] == "the file is empty"
    assert "30000" in reasons["bomb"]
    assert set(reasons) == set(UNREADABLE)
    for why in reasons.values():
        assert "prepare.py" not in why
        assert "0x" not in why
        assert str(tmp_path) not in why


def test_packed_with_bad_images(tmp_path, small_shards):
    root, cache, out = make(tmp_path / "root"), tmp_path / "cache", tmp_path / "out"
    bad, odd = spoil(root)
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
    assert bytes(train.read(1)) == jpeg(2, (300, 40))
    assert second.size == (300, 40)


def test_a_read_only_root_and_nothing_written_in_it(tmp_path):
    root = make(tmp_path / "root")
    before = digests(root)
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    prepare(root, tmp_path / "cache", tmp_path / "out", resize=SMALL)
    assert digests(root) == before


@pytest.mark.parametrize("limit", [20_000])
def test_a_full_disk(tmp_path, limit):
    """An error that says what to do, no file that is incomplete, and the same command goes on."""
    root, cache, out = make(tmp_path / "root"), tmp_path / "cache", tmp_path / "out"
    driver = tmp_path / "driver.py"
    driver.write_text(
        f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})){DRIVER}".replace(
            "12, 30_000", "1, 25_000"
        )
    )
    words = [f"data.root={root}", f"paths.cache={cache}", f"out={out}", "pack=true", "workers=0"]
    words.append("size=original" if limit == 20_000 else "size=60")
    prepare(root, cache)  # what lists the images is in the cache already
    environment = {"PYTHONPATH": str(PROJECT / "src")}
    message = refused(command(sys.executable, str(driver), *words, **environment))
    assert "File too large" in message
    assert "make room or choose another folder, and run the command again" in message
    assert not (out / "packed.json").exists()
    assert not list(out.rglob(".*.arrow*"))
    driver.write_text(DRIVER.replace("12, 30_000", "1, 25_000"))
    assert command(sys.executable, str(driver), *words, **environment).returncode == 0
    assert len(packed.load_splits(out).train) == 12


def in_root(tmp_path):
    return tmp_path / "root/packed", "lies in data.root="


def a_file(tmp_path):
    (tmp_path / "file").write_text("?")
    return tmp_path / "file", "is a file; choose a folder"


def others(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.jpg").write_text("?")
    return tmp_path / "photos", "holds other files (mine.jpg); choose an empty or a new folder"


def of_another_size(tmp_path):
    prepare(tmp_path / "root", tmp_path / "cache", tmp_path / "made", resize=Resize(50, 90))
    return tmp_path / "made", "holds a packed form of other size already; choose another folder"


def of_other_images(tmp_path):
    root = make(tmp_path / "other", each=2)
    prepare(root, tmp_path / "cache", tmp_path / "made", resize=SMALL)
    return tmp_path / "made", "holds a packed form of other images already; choose another folder"


def unfinished(tmp_path):
    out = tmp_path / "half"
    (out / ".partial").mkdir(parents=True)
    (out / ".partial/of.txt").write_text("/other/root None\n")
    return out, "holds an unfinished packed form of /other/root None; choose another folder"


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
    after = digests(out) if out.is_dir() else None
    if after is not None:
        after = {n: d for n, d in after.items() if n != ".partial/lock"}
    assert (digests(tmp_path / "root"), after) == before


def test_two_at_once(tmp_path):
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    lock = manifest.folder(cache, root) / "lock"
    lock.parent.mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", f"from filelock import FileLock\nlock = FileLock({str(lock)!r})\nlock.acquire()\n"
         "print('held', flush=True)\ninput()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another prepare is at work there; let it end"):
            prepare(root, cache)
        holder.communicate("\n")
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
            from deeper.data.source import Splits

            part = [1, 2]
            return Splits(["a"], part, part, part)

    from deeper.prepare.prepare import Preparation

    with pytest.raises(ValueError, match="do not lie in files one by one"):
        Preparation(Pickled(), "mine", tmp_path / "root", tmp_path / "cache").run()


def test_official_archives(tmp_path, monkeypatch, capsys):
    """Their MD5 is compared once; a rerun believes it while the file is the same."""
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    (root / "ILSVRC2012_img_val.tar").write_bytes(b"val")
    (root / "ILSVRC2012_img_train.tar").write_bytes(b"train")
    monkeypatch.setitem(
        checksums.OFFICIAL, "ILSVRC2012_img_val.tar", hashlib.md5(b"val").hexdigest()
    )
    with pytest.raises(
        ValueError, match="0 of 24 images cannot be read, and an official archive differs"
    ):
        prepare(root, cache, layout="folders")
    said = capsys.readouterr().out
    assert "official  ILSVRC2012_img_val.tar as published" in said
    assert (
        f"official  ILSVRC2012_img_train.tar differs: MD5 {hashlib.md5(b'train').hexdigest()}"
        in said
    )
    monkeypatch.setattr(checksums, "file_digest", None)
    assert set(prepare(root, cache, quarantine=True, layout="folders").archives) == {
        "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar",
    }  # fmt: skip
    monkeypatch.undo()
    monkeypatch.setitem(
        checksums.OFFICIAL, "ILSVRC2012_img_val.tar", hashlib.md5(b"val").hexdigest()
    )
    monkeypatch.setitem(
        checksums.OFFICIAL, "ILSVRC2012_img_train.tar", hashlib.md5(b"TRAIN").hexdigest()
    )
    replace(root / "ILSVRC2012_img_train.tar", b"TRAIN")  # as wget would fetch it again
    prepare(root, cache, layout="folders")


def test_the_command(tmp_path):
    """A clean set, one with something bad, and what the manifest means to a training."""
    root = make(tmp_path / "root", each=4)
    words = [f"data.root={root}", f"paths.cache={tmp_path / 'cache'}"]
    result = shell(*words, script="prepare")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == f"data      3 classes from {root}"
    assert lines[1].startswith("train     12 images, 4 a class, ")
    assert lines[3] == "modes     RGB 24"
    assert lines[-1] == f"next      python src/train.py data=folder data.root={root}"
    bad, _ = spoil(root)
    message = refused(shell(*words, "workers=2", script="prepare"))
    assert message.startswith(f"{len(bad)} of 37 images cannot be read:\n  train/")


MISTAKES = {
    "no root": ([], "data.root: required; pass data.root=<the folder of the images>"),
    "a limit": (["data.root=/x", "data.limit=9"], "data.limit=9: prepare opens every image; leave it out"),
    "no out": (["data.root=/x", "pack=true"], "out: required with pack=true; pass out=<a folder for the packed form>"),
    "no pack": (["data.root=/x", "out=/y"], "out=/y: only pack=true writes there; pass pack=true too"),
    "no size": (["data.root=/x", "size=big"], "size=big: pixels of the shorter side, at least 1, or original"),
    "quality": (["data.root=/x", "quality=0"], "quality=0: must lie in 1..100"),
    "workers": (["data.root=/x", "workers=-1"], "workers=-1: auto, or a number from 0 (no process beside this one) on"),
}  # fmt: skip


def mistakes(configs, *words):
    with pytest.raises(ConfigError) as error:
        preparation(configs(*words, name="prepare"))
    return str(error.value)


def test_mistakes_are_said_at_once(configs):
    words = [word for given, _ in MISTAKES.values() for word in given if "pack=" not in word]
    lines = [line for name, (_, line) in MISTAKES.items() if name not in ("no root", "no out")]
    expected = "5 problems in the configuration:\n" + "\n".join(f"  {line}" for line in lines)
    assert mistakes(configs, *dict.fromkeys(words)) == expected


@pytest.mark.parametrize("name", ["no root", "no out"])
def test_what_is_required(configs, name):
    words, line = MISTAKES[name]
    assert mistakes(configs, *words) == f"1 problem in the configuration:\n  {line}"


def test_a_source_that_is_not_trusted(configs):
    words = ["data.root=/x", "data.source._target_=os.system"]
    assert "data.source: _target_ 'os.system' is not trusted" in mistakes(configs, *words)


def test_a_root_that_is_not_there():
    message = refused(shell("data.root=/nowhere", script="prepare"))
    assert message.startswith("data.root=/nowhere: no such folder; pass data.root=")


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").write_text("a file")
    root = make(tmp_path / "root", each=1)
    with pytest.raises(
        ValueError, match=r"^paths.cache=.*: cannot be written \(.*\); pass paths.cache="
    ):
        prepare(root, tmp_path / "cache")
