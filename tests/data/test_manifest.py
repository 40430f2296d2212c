"""The manifest of a root: what is in it, how it is read, and when it no longer holds."""

import hashlib
import os
import time

import numpy as np
import pyarrow as pa
import pytest
from photos import ODD, UNREADABLE, make, prepare, spoil

from deeper.data import manifest as manifests
from deeper.data.images.stored import FileImages
from deeper.data.manifest import Manifest
from deeper.data.quarantine import without_bad
from deeper.data.source import Splits
from deeper.data.sources.folder import Folder


def load(root, cache):
    return Folder(root, cache).load()


def test_what_is_in_it(tmp_path):
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    manifest = prepare(root, cache)
    (path,) = (cache / "manifests").glob("*/manifest.arrow")
    table = pa.ipc.open_file(str(path)).read_all()  # as anyone would
    assert table.column_names == [
        "split", "name", "label", "class", "bytes", "changed", "sha256", "width", "height", "mode", "status",
    ]  # fmt: skip
    assert len(table) == 24
    for row in table.to_pylist():
        data = (root / row["name"]).read_bytes()
        assert row["name"].startswith(f"{row['split']}/{row['class']}/")
        assert row["class"] == manifest.classes[row["label"]]
        assert (row["bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).digest())
        assert (row["mode"], row["status"]) == ("RGB", "ok")
        assert 90 <= row["width"] <= 96
        assert 60 <= row["height"] <= 64
    assert manifest.counts == {"train": 12, "val": 12}
    assert manifest.column("label", "val").tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert isinstance(manifest.column("bytes", "train"), np.ndarray)
    assert manifest.good("train").all()
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


def test_modes_are_those_of_the_files(tmp_path):
    root = make(tmp_path / "root", each=1)
    spoil(root)
    manifest = prepare(root, tmp_path / "cache", quarantine=True)
    rows = {row["name"].rpartition("/")[2][:-7]: row for row in manifest.table.to_pylist()}
    modes = {kind: rows[kind]["mode"] for kind in ODD}
    assert modes == {
        "png_named_jpeg": "RGB", "cmyk": "CMYK", "grey": "L", "rgba": "RGBA", "palette": "P",
        "bad_exif": "RGB",
    }  # fmt: skip
    assert all(rows[kind]["mode"] == "" and rows[kind]["width"] == 0 for kind in UNREADABLE)


CHANGES = {
    "an image more": (
        lambda root: os.link(root / "val/ant/0000.JPEG", root / "val/ant/new.JPEG"),
        "val has 13 images and had 12",
    ),
    "an image less": (
        lambda root: (root / "train/bee/0001.JPEG").unlink(),
        "train has 11 images and had 12",
    ),
    "the last image less": (
        lambda root: (root / "train/cat/0003.JPEG").unlink(),
        "train has 11 images and had 12",
    ),
    "another name": (
        lambda root: (root / "train/cat/0002.JPEG").rename(root / "train/cat/00021.JPEG"),
        "names, classes or sizes of the images of train are other ones",
    ),
    "another class list": (
        lambda root: [(root / s / "cat").rename(root / s / "dog") for s in ("train", "val")],
        "it has 3 classes and had 3: cat, dog",
    ),
    "another split": (
        lambda root: (root / "val").rename(root / "test"),
        "names, classes or sizes of the images of val are other ones",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_root_that_changed_is_refused(tmp_path, change):
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    manifest = prepare(root, cache)
    assert manifest.difference(load(root, cache)) is None
    act, words = CHANGES[change]
    act(root)
    splits = load(root, tmp_path / "another cache")
    assert manifest.difference(splits) == words
    with pytest.raises(ValueError, match="has changed since it was verified: ") as error:
        without_bad(splits, root, cache, "quarantine")
    assert f"{words}; run `python src/prepare.py data.root={root}` again" in str(error.value)


def test_labels_that_changed(tmp_path):
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    manifest = prepare(root, cache)
    classes, train, val, _ = load(root, cache)
    labels = val.labels.copy()
    labels[5] = 2
    other = FileImages(root, val.names, labels)
    found = manifest.difference(Splits(classes, train, other, other))
    assert found == "names, classes or sizes of the images of val are other ones"


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
    assert manifest.difference(load(root, cache)) is None


def test_rows_are_compared_without_an_object_each(tmp_path):
    """Linear, and well below the time that any framework takes to be imported."""
    seconds = []
    for count in (20_000, 200_000):
        names = np.array([b"train/n%08d/n%08d_%d.JPEG" % (i // 1000, i, i) for i in range(count)])
        labels = np.arange(count) // 1000
        classes = [f"n{i:08d}" for i in range(count // 1000)]
        columns = {
            "split": ["train"] * count, "name": pa.array(names, pa.binary()).cast(pa.string()),
            "label": labels, "class": pa.array(classes).take(pa.array(labels)),
            "bytes": labels, "changed": labels, "sha256": pa.array([bytes(32)] * count, pa.binary(32)),
            "width": labels.astype(np.int32), "height": labels.astype(np.int32),
            "mode": ["RGB"] * count, "status": ["ok"] * count,
        }  # fmt: skip
        rows = pa.table(columns, schema=manifests.SCHEMA)
        path = tmp_path / f"{count}.arrow"
        Manifest.of(rows, classes, {"train": count, "val": 0}, {}).write(path)
        part = FileImages(tmp_path, names, labels)
        empty = FileImages(tmp_path, names[:0], labels[:0])
        started = time.perf_counter()
        manifest = Manifest.read(path)
        assert manifest.difference(Splits(classes, part, empty, empty)) is None
        assert manifest.good("train").all()
        seconds.append(time.perf_counter() - started)
    print(f"20,000 rows: {seconds[0]:.3f} s; 200,000 rows: {seconds[1]:.3f} s")
    assert seconds[1] < 1
