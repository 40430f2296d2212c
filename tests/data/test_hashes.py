"""Hashes of images: the same in every layout and order, so that the holdout and fingerprints are."""

import hashlib
import shutil
import tarfile
import time

import imagenet_forms as forms
import numpy as np
import pytest
from photos import make, prepare

from deeper.data.datamodule import ImageData
from deeper.data.hashes import image_hashes
from deeper.data.images.stored import ArchiveImages, FileImages
from deeper.data.layouts import packed
from deeper.data.partition import Partition
from deeper.data.sources.folder import Folder
from deeper.data.splits import split_holdout
from deeper.evaluation.protocol import Single


def stems(images, places):
    """(label, stem) of images, which all layouts share."""
    names = (images.name(int(i)).rpartition("/")[2].rpartition(":")[2] for i in places)
    return {(int(images.labels[i]), name[:-5]) for i, name in zip(places, names, strict=True)}


def held(images, classes):
    """(label, stem) of the images that are held out."""
    hashes = image_hashes(images, classes)
    return stems(images, split_holdout(hashes, images.labels, 0.2, classes)[1])


def tarred(images, path):
    """The same images as members of a tar, in reverse."""
    offsets, sizes, names = [], [], []
    with tarfile.open(path, "w") as tar:
        for i in reversed(range(len(images))):
            tar.add(images.where(i), f"{images.name(i).rpartition('/')[2]}")
    with tarfile.open(path) as tar:
        for member in tar:
            offsets.append(member.offset_data)
            sizes.append(member.size)
            names.append(f"train.tar:x.tar:{member.name}".encode())
    return ArchiveImages(
        path, np.array(offsets), np.array(sizes), np.array(names), images.labels[::-1]
    )


def renamed(root):
    """Unlike in `make`, names that differ between classes."""
    for path in root.glob("train/*/*.JPEG"):
        path.rename(path.with_stem(f"{path.parent.name}_{path.stem}"))
    return root


@pytest.fixture
def root(tmp_path):
    return renamed(make(tmp_path / "root", each=30, size=(20, 16)))


def load(root, cache):
    return Folder(root=str(root), cache=str(cache)).load()


def test_a_tree_a_tar_and_a_packed_root_hold_out_the_same_images(root, tmp_path):
    classes, train, _, _ = load(root, tmp_path / "cache")
    expected = held(train, classes)
    assert 3 <= len(expected) < 40
    assert held(tarred(train, tmp_path / "train.tar"), classes) == expected
    prepare(root, tmp_path / "cache", tmp_path / "out")
    assert held(packed.load_splits(tmp_path / "out").train, classes) == expected
    order = np.random.default_rng(0).permutation(len(train))
    assert held(FileImages(root, train.names[order], train.labels[order]), classes) == expected


def test_the_hubs_parquet_files_hold_out_the_trees_images(tmp_path):
    """Their rows name the same files, with the class's wnid at the end."""
    mini = forms.miniature(train=30)
    expected = None
    for form in ("tree", "parquet"):
        forms.FORMS[form](tmp_path / form, mini)
        classes, train, _, _ = load(tmp_path / form, tmp_path / "cache")
        hashes = image_hashes(train, classes)
        images = split_holdout(hashes, train.labels, 0.2, classes)[1]
        digests = {hashlib.sha256(train.read(int(i))).hexdigest() for i in images}
        assert 5 <= len(digests) < 60
        assert digests == (expected or digests)
        expected = digests


@pytest.mark.parametrize("path", [None, "image.png", "class/image.png"])
def test_rows_that_no_name_tells_apart_go_by_their_number(path, tmp_path):
    rows = [(forms.jpeg(n), path, n % 2) for n in range(40)]
    for split in ("train", "test"):
        forms.shards(tmp_path / "data", split, rows, forms.hub(["dog", "cat"]))
    classes, train, _, _ = load(tmp_path, tmp_path / "cache")
    assert len(set(image_hashes(train, classes).tolist())) == 40
    assert train.name(3) == "data/train-00000-of-00002.parquet:dog/3"
    assert train.name(39) == "data/train-00001-of-00002.parquet:cat/39"


def test_a_removed_image_moves_no_other(root, tmp_path):
    classes, train, _, _ = load(root, tmp_path / "cache")
    before = held(train, classes)
    (root / "train/bee/bee_0007.JPEG").unlink()
    _, train, _, _ = load(root, tmp_path / "another cache")
    assert held(train, classes) == before - {(1, "bee_0007")}


def data(root, cache, **options):
    """Indexed, with the validation set held out of train."""
    module = ImageData(
        lambda root, cache: Folder(root=root, cache=cache), root=str(root),
        cache=str(cache), image_size=8, batch_size=4, augment={}, protocol=Single, seed=0, workers=0,
        **options,
    )  # fmt: skip
    module.setup()
    return module


def test_the_fingerprint_is_that_of_the_images(root, tmp_path):
    """Not of their place nor of their layout; of their sizes, too."""
    found = data(root, tmp_path / "cache").fingerprint()
    copy = tmp_path / "elsewhere/images"
    shutil.copytree(root, copy)
    assert data(copy, tmp_path / "cache").fingerprint() == found
    prepare(root, tmp_path / "cache", tmp_path / "out")
    assert data(root, tmp_path / "cache").fingerprint() == found  # now that it is verified
    assert data(tmp_path / "out", tmp_path / "cache").fingerprint() == found
    path = copy / "val/cat/0003.JPEG"
    path.write_bytes(path.read_bytes() + b"\0")
    changed = data(copy, tmp_path / "cache")
    assert changed.fingerprint() != found
    assert changed.fingerprint("test") != data(root, tmp_path / "cache").fingerprint("test")
    assert changed.fingerprint("train") == data(root, tmp_path / "cache").fingerprint("train")


def test_a_split_has_one_fingerprint_in_any_order(root, tmp_path):
    splits = load(root, tmp_path / "cache")
    train = splits.train
    order = np.random.default_rng(0).permutation(len(train))
    other = splits._replace(train=FileImages(root, train.names[order], train.labels[order]))
    one, two = (Partition(of, "official", 0.1, None) for of in (splits, other))
    assert one.fingerprint("train") == two.fingerprint("train")
    assert one.fingerprint() != two.fingerprint()


def test_a_stem_is_what_stands_between_folder_and_suffix(tmp_path):
    names = [
        "train/a/x.y.JPEG",
        "x.tar:b/x.y.png",
        "x.y.jpg",
        "x.JPEG",
        "x",
        "train/a/.x",
        "é.JPEG",
    ]
    hashes = image_hashes(FileImages(tmp_path, names, [0] * 7), ["c"]).tolist()
    assert hashes[0] == hashes[1] == hashes[2]
    assert hashes[3] == hashes[4]
    assert len(set(hashes)) == 4
    assert hashes[0] not in image_hashes(FileImages(tmp_path, names, [0] * 7), ["d"]).tolist()


def test_hashes_are_uniform_and_fast(tmp_path):
    names = np.array([b"train/n%08d/n%08d_%d.JPEG" % (i % 100, i % 100, i) for i in range(100_000)])
    images = FileImages(tmp_path, names, np.arange(100_000) % 100)
    started = time.perf_counter()
    hashes = image_hashes(images, [f"n{i:08d}" for i in range(100)])
    seconds = time.perf_counter() - started
    print(f"{seconds / len(names) * 1e6:.2f} µs a name")
    assert seconds < 2
    assert len(set(hashes.tolist())) == len(names)
    counts = np.histogram(hashes.astype(float), 100, (0.0, 2.0**64))[0]
    assert np.abs(counts - 1000).max() < 160  # five standard deviations
