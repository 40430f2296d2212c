"""The manifest of a root: what is in it, how it is read, and when it no longer holds."""

import hashlib
import os
import shutil
import time

import numpy as np
import pyarrow as pa
import pytest
from photos import make, prepare

from deeper.data import manifest as manifests
from deeper.data.hashes import names_digest
from deeper.data.images.stored import FileImages
from deeper.data.manifest import Manifest, readable
from deeper.data.quarantine import without_bad
from deeper.data.sources.folder import Folder


def load(root, cache):
    return Folder(root, cache).load()


def test_what_is_in_it(tmp_path):
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    manifest = prepare(root, cache)
    (path,) = (cache / "manifests").glob("*/manifest.arrow")
    table = pa.ipc.open_file(str(path)).read_all()  # as anyone would
    assert table.schema.names == [
        "split", "name", "label", "class", "bytes", "changed", "sha256", "width", "height", "status",
    ]  # fmt: skip
    assert len(table) == 24
    for row in table.to_pylist():
        data = (root / row["name"]).read_bytes()
        assert row["name"].startswith(f"{row['split']}/{row['class']}/")
        assert row["class"] == manifest.classes[row["label"]]
        assert (row["bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).digest())
        assert row["status"] == "ok"
        assert 90 <= row["width"] <= 96
        assert 60 <= row["height"] <= 64
    assert {split: len(rows) for split, rows in manifest.splits.items()} == {"train": 12, "val": 12}
    assert manifest.splits["val"]["label"].to_pylist() == [0] * 4 + [1] * 4 + [2] * 4
    assert readable(manifest.splits["train"]).all()
    assert manifest.bad() == []


def test_the_root_may_be_spelt_in_any_way(tmp_path, monkeypatch):
    root = make(tmp_path / "images")
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    found = {
        manifests.folder(tmp_path, type(root)(spelt))
        for spelt in (root, "images", tmp_path / "link", f"{root}/../images/")
    }
    assert len(found) == 1


CHANGES = {
    "an image more": (
        "val",
        lambda root: os.link(root / "val/ant/0000.JPEG", root / "val/ant/9.JPEG"),
    ),
    "an image less": ("train", lambda root: (root / "train/bee/0001.JPEG").unlink()),
    "the last image less": ("train", lambda root: (root / "train/cat/0003.JPEG").unlink()),
    "another name": (
        "train",
        lambda root: (root / "train/cat/0002.JPEG").rename(root / "train/cat/00021.JPEG"),
    ),
    "another class": (
        "train and val",
        lambda root: [(root / s / "cat").rename(root / s / "dog") for s in ("train", "val")],
    ),
    "other labels": (
        "train",
        lambda root: (root / "train/ant/0003.JPEG").rename(root / "train/bee/00.JPEG"),
    ),
    "another split": ("test", lambda root: shutil.copytree(root / "val", root / "test")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_root_that_changed_is_refused(tmp_path, change):
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    prepare(root, cache)
    assert without_bad(load(root, cache), root, cache, "strict")[1].verified
    splits, act = CHANGES[change]
    act(root)
    words = f"number, names or classes of the images of {splits} have changed since they were"
    with pytest.raises(ValueError, match=words) as error:
        without_bad(load(root, tmp_path / "another cache"), root, cache, "quarantine")
    assert f"run `python src/prepare.py data.root={root}` again" in str(error.value)


def test_a_damaged_manifest(tmp_path):
    root, cache = make(tmp_path / "root", each=1), tmp_path / "cache"
    prepare(root, cache)
    path = manifests.folder(cache, root) / manifests.FILE
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(
        ValueError, match=r"no manifest that this version reads .* run prepare again"
    ):
        Manifest.of_root(cache, root)


def test_names_that_are_no_utf8(tmp_path):
    root, cache = make(tmp_path / "root", each=1), tmp_path / "cache"
    name = os.fsdecode(b"latin\xe9.JPEG")
    try:
        (root / "train/ant/0000.JPEG").rename(root / "train/ant" / name)
    except OSError:
        pytest.skip("a file system that takes UTF-8 alone")
    manifest = prepare(root, cache)
    assert manifest.table["name"][0].as_py() == "train/ant/latin\\udce9.JPEG"
    assert without_bad(load(root, cache), root, cache, "strict")[1].verified


def test_rows_are_compared_without_an_object_each(tmp_path):
    """Well below the time that any framework takes to be imported."""
    count = 200_000
    names = np.array([b"train/n%08d/n%08d_%d.JPEG" % (i // 1000, i, i) for i in range(count)])
    labels = np.arange(count) // 1000
    classes = [f"n{i:08d}" for i in range(count // 1000)]
    columns = {
        "split": ["train"] * count, "name": pa.array(names, pa.binary()).cast(pa.string()),
        "label": labels, "class": pa.array(classes).take(pa.array(labels)),
        "bytes": labels, "changed": labels, "sha256": pa.array([bytes(32)] * count, pa.binary(32)),
        "width": labels.astype(np.int32), "height": labels.astype(np.int32), "status": ["ok"] * count,
    }  # fmt: skip
    images = FileImages(tmp_path, names, labels)
    rows = pa.table(columns, schema=manifests.SCHEMA)
    made = Manifest.of({"train": rows}, classes, {"train": names_digest(images, classes)})
    path = tmp_path / manifests.FILE
    manifests.write_table(path, made.table)
    started = time.perf_counter()
    manifest = Manifest(manifests.read_table(path))
    assert names_digest(images, classes) == manifest.digests["train"]
    assert readable(manifest.splits["train"]).all()
    seconds = time.perf_counter() - started
    print(f"200,000 rows: {seconds:.3f} s")
    assert seconds < 1
