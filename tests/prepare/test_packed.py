"""The packed form: the same images as its source, read where they lie, by us and by others."""

import json
import pickle
import shutil
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
from entry import PROJECT
from photos import CLASSES, digests, make, prepare, spoil

from deeper.data.images.stored import FileImages
from deeper.data.layouts import packed
from deeper.data.quarantine import without_bad
from deeper.data.source import Splits
from deeper.data.sources.folder import Folder
from deeper.data.staging import staged
from deeper.prepare import prepare as preparing
from deeper.prepare.verify import Resize


@pytest.fixture
def both(tmp_path, monkeypatch):
    """(root, out) of a set packed with its original bytes into several shards."""
    monkeypatch.setattr(preparing, "SHARD_BYTES", 9_000)
    monkeypatch.setattr("deeper.prepare.verify.IMAGES", 3)
    root = make(tmp_path / "root", splits=("train", "val", "test"))
    spoil(root)
    prepare(root, tmp_path / "cache", tmp_path / "out", quarantine=True)
    return root, tmp_path / "out"


def test_it_is_its_source(both, tmp_path):
    root, out = both
    source = Folder(str(root), str(tmp_path / "cache")).load()
    loaded = Folder(str(out), str(tmp_path / "cache"), num_classes=3).load()  # by detection
    assert loaded.classes == source.classes == list(CLASSES)
    for there, here in zip(source[1:], loaded[1:], strict=True):
        known = {there.name(i): i for i in range(len(there))}
        assert here.labels.dtype == np.int64
        assert len(here) == (18 if "train/" in here.name(0) else 12)
        for i in range(len(here)):
            place = known.pop(here.name(i))
            assert here.read(i) == there.read(place)
            assert here.labels[i] == there.labels[place]
            (ours, label), (theirs, other) = here[i], there[place]
            assert label == other
            assert np.array_equal(ours.pixels()[0], theirs.pixels()[0])
    assert len(loaded.train.files) > 2
    with pytest.raises(IndexError):
        loaded.train.read(len(loaded.train))


def test_one_official_set_stays_one(tmp_path):
    root = make(tmp_path / "root", splits=("train", "test"), each=1)
    prepare(root, tmp_path / "cache", tmp_path / "out")
    loaded = packed.load_splits(tmp_path / "out")
    assert loaded.val is loaded.test


def test_a_read_takes_microseconds(tmp_path):
    root = make(tmp_path / "root", each=50)
    prepare(root, tmp_path / "cache", tmp_path / "out")
    train = packed.load_splits(tmp_path / "out").train
    order = np.random.default_rng(0).integers(0, len(train), 20_000).tolist()
    times = []
    for _ in range(3):
        started = time.perf_counter()
        for i in order:
            train.read(i)
        times.append((time.perf_counter() - started) / len(order))
    print(f"a record of {len(train.read(0)):,} bytes at random: {min(times) * 1e6:.1f} µs")
    assert min(times) < 20e-6


def test_anyone_who_speaks_arrow_reads_it(both):
    root, out = both
    about = json.loads((out / "packed.json").read_text())
    assert about["made"]["size"] == "original"
    for split, of in about["splits"].items():
        count = 0
        for shard in of["shards"]:
            table = pa.ipc.open_file(pa.memory_map(str(out / shard["file"]))).read_all()
            assert table.schema.names == ["image", "label", "name"]
            features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
            assert features["label"] == {"names": list(CLASSES), "_type": "ClassLabel"}
            assert table.schema.types == [pa.large_binary(), pa.int64(), pa.string()]
            for row in table.to_pylist():
                assert row["name"].startswith(f"{split}/{about['classes'][row['label']]}/")
                assert row["image"] == (root / row["name"]).read_bytes()
            count += len(table)
        assert count == of["images"]


def read_all(train):
    return [(train.read(i), train.name(i), int(train.labels[i])) for i in range(len(train))]


def test_what_was_mapped_is_not_sent_to_another_process(both):
    train = packed.load_splits(both[1]).train
    sent = pickle.dumps(train)
    assert len(sent) < 1000
    copy = pickle.loads(sent)
    assert read_all(copy) == read_all(train)


def test_a_damaged_form_is_refused(both, tmp_path):
    _, out = both
    shard = out / "train-00001.arrow"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match=f"^{shard}: has {len(whole) - 10:,} bytes, expected"):
        packed.load_splits(out)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    shard.write_bytes(flipped)
    packed.load_splits(out)  # a size says nothing of a byte that flipped
    words = "train-00001.arrow differ from their digests in packed.json; copy them again"
    with pytest.raises(ValueError, match=words):
        prepare(out, tmp_path / "cache")
    with pytest.raises(ValueError, match=f"^{shard}: has SHA-256 .* copy or pack it again"):
        staged(out, tmp_path / "node")
    assert not packed.fits(tmp_path / "node" / f"packed-{packed.read_about(out)['fingerprint']}")
    about = json.loads((out / "packed.json").read_text())
    about["classes"].reverse()
    (out / "packed.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="its classes or shards were changed by hand; pack anew"):
        packed.load_splits(out)
    about["classes"].reverse()
    (out / "packed.json").write_text(json.dumps(about))
    shard.unlink()
    with pytest.raises(ValueError, match=f"^{shard}: is missing; copy it again"):
        packed.load_splits(out)
    entry = about["splits"]["train"]["shards"][1]
    for name in ("../train-00001.arrow", "/tmp/train-00001.arrow", ".hidden", ""):
        entry["file"] = name
        (out / "packed.json").write_text(json.dumps(about))
        with pytest.raises(ValueError, match=r"the shard '.*' points out of the folder; refused"):
            staged(out, tmp_path / "node")
    (out / "packed.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match=r"not a packed form \('fingerprint'\); pack the images"):
        packed.load_splits(out)
    (out / "packed.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="of format 99, this version reads 1; pack anew"):
        packed.load_splits(out)
    (out / "packed.json").write_text("{")
    with pytest.raises(ValueError, match=r"not a packed form .*; pack the images anew"):
        packed.load_splits(out)


def test_a_packed_form_is_verified_and_packed_again(both, tmp_path):
    _, out = both
    prepare(out, tmp_path / "cache")
    assert without_bad(packed.load_splits(out), out, tmp_path / "cache", "strict")[1].verified
    prepare(out, tmp_path / "cache", tmp_path / "smaller", resize=Resize(32, 80))
    smaller = packed.load_splits(tmp_path / "smaller").train
    assert len(smaller) == len(packed.load_splits(out).train)
    assert min(smaller[0][0].size) == 32


STAGE = """
import shutil, sys
from pathlib import Path
from deeper.data.staging import staged
copied, copyfile = [], shutil.copyfile
shutil.copyfile = lambda source, target: copied.append(source.name) or copyfile(source, target)
target = staged(Path(sys.argv[1]), Path(sys.argv[2]))
print(target, len(copied))
"""


def test_it_is_staged_once_by_all_processes_of_a_node(both, tmp_path):
    _, out = both
    words = [sys.executable, "-c", STAGE, str(out), str(tmp_path / "node")]
    environment = {"PYTHONPATH": str(PROJECT / "src")}
    started = [
        subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0].splitlines()[-1].split() for process in started]
    (target,) = {name for name, _ in said}
    assert sorted(int(copies) for _, copies in said) == [0, len(list(out.iterdir()))]
    assert digests(tmp_path / "node" / target) == digests(out)
    names = {path.name for path in (tmp_path / "node").iterdir() if "lock" not in path.name}
    assert names == {target.rpartition("/")[2]}
    assert read_all(packed.load_splits(staged(out, tmp_path / "node")).train) == read_all(
        packed.load_splits(out).train
    )


def test_a_copy_that_was_killed_goes_on(both, tmp_path, monkeypatch):
    _, out = both
    copied = []

    def copy(source, target, original=shutil.copyfile):
        copied.append(source.name)
        if len(copied) == 3:
            raise KeyboardInterrupt
        return original(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy)
    with pytest.raises(KeyboardInterrupt):
        staged(out, tmp_path / "node")
    assert not list((tmp_path / "node").glob("packed-*"))
    staged(out, tmp_path / "node")
    assert len(copied) == len(list(out.iterdir())) + 1


def test_no_room_for_a_copy(both, tmp_path, monkeypatch):
    _, out = both
    usage = shutil._ntuple_diskusage(100, 99, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        ValueError, match=r"^data.stage_to=[^=]*: needs 0.\d MB, and 0.0 MB are free"
    ):
        staged(out, tmp_path / "node")
    assert not list((tmp_path / "node").glob("packed-*"))


def test_a_root_that_is_not_packed_is_not_staged(tmp_path):
    root = make(tmp_path / "root", each=1)
    command = f"`python src/prepare.py data.root={root} pack=true out=DIR`"
    with pytest.raises(ValueError, match=r"copies the packed form, and .* is none; run ") as error:
        staged(root, tmp_path / "node")
    assert command in str(error.value)
    assert not (tmp_path / "node").exists()


class OnlyTest:
    """The images of `test/` alone, as ImageNet-V2 has no others."""

    def __init__(self, root):
        self.root = root

    def prepare(self): ...

    def load(self):
        whole = Folder(self.root, self.root.parent / "cache").load()
        empty = FileImages(self.root, [], [])
        return Splits(whole.classes, empty, whole.test, whole.test)


def test_a_test_set_alone_is_packed(tmp_path):
    root = make(tmp_path / "root", splits=("train", "test"), each=1)
    preparing.prepare(OnlyTest(root), root, tmp_path / "cache", out=tmp_path / "out")
    loaded = packed.load_splits(tmp_path / "out")
    assert (len(loaded.train), len(loaded.test)) == (0, 3)
