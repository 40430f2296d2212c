"""ImageNet in every layout: the same set in all of them, and the errors about wrong files."""

import gzip
import hashlib
import pickle
import re
from pathlib import Path

import imagenet_forms as forms
import numpy as np
import pyarrow.parquet as pq
import pytest
from entry import record, run_dirs, shell
from imagenet_forms import FORMS, WNIDS

from deeper.data import classes, layouts
from deeper.data.layouts import index
from deeper.data.sources.folder import Folder
from deeper.data.sources.imagenet import ImageNet


@pytest.fixture(scope="module")
def mini():
    return forms.miniature()


def load(root: Path, cache: Path, num_classes: int | None = len(WNIDS), **options):
    return Folder(root, cache, num_classes, **options).load()


def contents(splits) -> list[set[tuple[str, str]]]:
    """(digest of the bytes, wnid) of each image, by split."""
    found = []
    for part in splits[1:]:
        digests = [hashlib.sha256(part.read(i)).hexdigest() for i in range(len(part))]
        found.append({(d, splits.classes[c]) for d, c in zip(digests, part.labels, strict=True)})
        assert len(found[-1]) == len(part)
    return found


def expected(mini) -> list[set[tuple[str, str]]]:
    train, val = (
        {(hashlib.sha256(data).hexdigest(), wnid) for _, wnid, data in forms.labelled(mini[split])}
        for split in ("train", "val")
    )
    return [train, val, val]


def snapshot(root: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a root."""
    found = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        found[str(path)] = status.st_size, status.st_mtime_ns, status.st_ino
    return found


def read_only(root: Path) -> None:
    for path in [*root.rglob("*"), root]:
        path.chmod(0o555 if path.is_dir() else 0o444)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_set(form, mini, tmp_path, monkeypatch):
    root, cache = tmp_path / "root", tmp_path / "cache"
    FORMS[form](root, mini)
    read_only(root)
    before = snapshot(root)
    for _ in range(2):  # listed, then from the cache
        splits = load(root, cache)
        assert splits.classes == WNIDS
        assert contents(splits) == expected(mini)
        monkeypatch.setattr(index, "_write", None)
    names = [part.name(i) for part in splits[1:3] for i in range(len(part))]
    assert len(set(names)) == len(names)
    image, label = splits.train[4]
    assert (image.pil().mode, image.size, label) == (
        "RGB",
        image.pil().size,
        splits.train.labels[4],
    )
    assert image.name == splits.train.where(4)
    assert image.name.startswith(f"{root}/")
    assert snapshot(root) == before
    copy = pickle.loads(pickle.dumps(splits.train))
    assert copy.read(3) == splits.train.read(3)


@pytest.mark.parametrize("form", [form for form in FORMS if "parquet" not in form])
def test_what_is_listed_has_one_order(form, mini, tmp_path):
    """So that a run goes on when its images move to another form."""
    FORMS[form](tmp_path / "root", mini)
    splits = load(tmp_path / "root", tmp_path / "cache")
    for part, split in ((splits.train, "train"), (splits.val, "val")):
        names = [re.split("[/:]", part.name(i))[-1] for i in range(len(part))]
        assert names == [name for w in WNIDS for name in sorted(mini[split][w])]
        assert (np.diff(part.labels) >= 0).all()


@pytest.mark.parametrize("inside", ["ILSVRC", "ILSVRC/Data/CLS-LOC"])
def test_kaggle_from_inside(inside, mini, tmp_path):
    forms.kaggle(tmp_path / "root", mini)
    splits = load(tmp_path / "root" / inside, tmp_path / "cache")
    assert contents(splits) == expected(mini)


def test_kaggle_with_val_sorted_into_folders(mini, tmp_path):
    forms.tree(tmp_path / "root/ILSVRC/Data/CLS-LOC", mini)
    assert contents(load(tmp_path / "root", tmp_path / "cache")) == expected(mini)


def test_the_hubs_thousand_classes_are_sorted_wnids(mini, tmp_path):
    """Without names, with ImageNet's words, and with one of them written differently."""
    names = [synset.words for synset in classes.synsets()]
    other = [f"{name.partition(',')[0]}2" if i == 517 else name for i, name in enumerate(names)]
    for number, metadata in enumerate([{}, forms.hub(names), forms.hub(other)]):
        root = tmp_path / str(number)
        forms.parquet_of_1000(root, mini, metadata)
        splits = ImageNet(root, tmp_path / "cache").load()
        assert splits.classes == list(classes.wnids())
        assert sorted(splits.val.labels.tolist()) == list(range(1000))


def test_words_in_another_order_are_not_taken_for_imagenets(mini, tmp_path):
    names = [f"{synset.words}, {synset.wnid}" for synset in classes.synsets()]
    forms.parquet_of_1000(tmp_path / "root", mini, forms.hub([*names[1:], names[0]]))
    with pytest.raises(ValueError, match="is no class of ILSVRC 2012"):
        ImageNet(tmp_path / "root", tmp_path / "cache").load()


def test_a_list_as_spreadsheets_and_editors_save_it(mini, tmp_path):
    """With a mark of byte order, \\r\\n and an empty last line."""
    FORMS["kaggle"](tmp_path / "root", mini)
    path = tmp_path / "root/LOC_val_solution.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert contents(load(tmp_path / "root", tmp_path / "cache")) == expected(mini)


def test_classes_of_another_set_keep_their_names(mini, tmp_path):
    rows = [(forms.jpeg(n), f"{n}.jpg", n % 2) for n in range(6)]
    for split in ("train", "test"):
        forms.shards(tmp_path / "root/data", split, rows, forms.hub(["dog", "cat"]))
    splits = load(tmp_path / "root", tmp_path / "cache", None)
    assert splits.classes == ["cat", "dog"]
    for image, name, label in rows:
        place = [splits.train.read(i) for i in range(6)].index(image)
        assert splits.train.labels[place] == 1 - label, name


def test_the_devkits_numbers():
    """Known from the official ground truth: the first ten validation images, and both ends."""
    by_id, sorted_wnids = classes.by_devkit_id(), classes.wnids()
    assert len(by_id) == len(set(by_id.values())) == 1000
    assert (min(by_id), max(by_id)) == (1, 1000)
    assert list(sorted_wnids) == sorted(sorted_wnids)
    ids = [490, 361, 171, 822, 297, 482, 13, 704, 599, 164]
    caffe = [65, 970, 230, 809, 516, 57, 334, 415, 674, 332]
    assert [sorted_wnids.index(by_id[i]) for i in ids] == caffe
    assert [classes.words(by_id[i]) for i in (1, 1000)] == ["kit fox, Vulpes macrotis", "dumbbell"]
    assert classes.words("n01440764") == "tench, Tinca tinca"
    assert classes.words("my own class") == "my own class"


# What is wrong stops before the first step, in words that name the culprit.


def first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def rename_class(root, mini):
    (root / "val" / WNIDS[2]).rename(root / "val" / "n99999999")


def empty_class(root, mini):
    for path in (root / "train" / WNIDS[1]).iterdir():
        path.unlink()


def missing_class(root, mini):
    (root / "val" / WNIDS[3]).rename(root / "elsewhere")


def unlabelled(root, mini):
    forms.write(root / "val/ILSVRC2012_val_00000099.JPEG", forms.jpeg(3))


def lost(root, mini):
    (root / "val/ILSVRC2012_val_00000003.JPEG").unlink()


def short_list(root, mini):
    path = root / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def strange_id(root, mini):
    path = root / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    path.write_text("1001\n" + path.read_text().partition("\n")[2])


def no_list(root, mini):
    first(root, "*devkit*").unlink()


def unknown_wnid(root, mini):
    edit(
        root / "LOC_val_solution.csv",
        f"{WNIDS[0]} 1 2 30 40 {WNIDS[0]}",
        "n01443537 1 2 3 4 n01443537",
    )


def two_wnids(root, mini):
    edit(root / "LOC_val_solution.csv", f"{WNIDS[0]} 5 6", f"{WNIDS[1]} 5 6")


def float_labels(root, mini):
    path = first(root, "data/train-*")
    table = pq.read_table(path)
    place = table.schema.get_field_index("label")
    pq.write_table(table.set_column(place, "label", table["label"].cast("double")), path)


def two_forms(root, mini):
    forms.archives(root, mini)


def two_kinds_of_val(root, mini):
    forms.folders(root / "val", mini["val"])


def wrong_annotation(root, mini):
    edit(root / "val/val_annotations.txt", "\tn", "\tx")


def lost_shard(root, mini):
    first(root, "data/train-00001*").unlink()


def wrong_row(root, mini):
    rows = [(d, f.replace(".JPEG", f"_{w}.JPEG"), 0) for f, w, d in forms.labelled(mini["train"])]
    forms.shards(root / "data", "train", rows, forms.hub(WNIDS))


def wrong_names(root, mini):
    """Names that say of every label another wnid than the paths do."""
    forms.parquet(root, mini, name=lambda wnid: WNIDS[WNIDS.index(wnid) - 1])


def no_names(root, mini):
    rows = [(d, None, WNIDS.index(w)) for _, w, d in forms.labelled(mini["train"])]
    for split in ("train", "validation"):
        forms.shards(root / "data", split, rows, {})


def empty_class_tar(root, mini):
    inner = [
        (f"{w}.tar", forms.tar(f.items() if w != WNIDS[2] else []))
        for w, f in mini["train"].items()
    ]
    (root / "ILSVRC2012_img_train.tar").write_bytes(forms.tar(inner))


def not_in_the_devkit(root, mini):
    write = forms.write(
        root / "ILSVRC2012_devkit_t12.tar.gz", gzip.compress(forms.tar([("a", b"")]))
    )
    assert write.exists()


FAULTS = {
    rename_class: ("tree", "{root}: the classes of train/ and val/ differ in n02510455, n99999999"),
    missing_class: ("tree", "{root}: the classes of train/ and val/ differ in n03255030"),
    empty_class: ("tree", "{root}/train/n02119789 holds no image"),
    two_forms: ("tree", "data.root={root} fits 2 layouts, archives and folders"),
    unlabelled: ("devkit", "{root}/val: the image ILSVRC2012_val_00000099.JPEG has no label in {root}/"),
    lost: ("devkit", "t12.tar.gz labels ILSVRC2012_val_00000003, which is not in {root}/val"),
    no_list: ("devkit", "{root}/val holds images without class folders, and no list of their classes"),
    not_in_the_devkit: ("devkit", "{root}/ILSVRC2012_devkit_t12.tar.gz holds no ILSVRC2012_validation"),
    two_kinds_of_val: ("devkit", "{root}/val/n01440764 is a folder beside images"),
    short_list: ("unpacked devkit", "the image ILSVRC2012_val_00000010.JPEG has no label in {root}/"),
    strange_id: ("unpacked devkit", "_ground_truth.txt: line 1 is '1001'; expected an ILSVRC2012_ID"),
    unknown_wnid: ("kaggle", "is n01443537, which is no class of train/"),
    two_wnids: ("kaggle", "has the wnids ['n01440764', 'n02119789']; expected one"),
    wrong_annotation: ("tiny", "{root}/val/val_annotations.txt: ILSVRC2012_val_00000001.JPEG has the wnids []"),
    lost_shard: ("parquet", "{root}/data: train-00000-of-00002.parquet is one of 2 files, and part 1 is"),
    float_labels: ("parquet", "label (double); expected image (a struct of bytes and path) and label (a whole"),
    wrong_row: ("parquet", "has the label 0, which is n01440764 (tench, Tinca tinca) by the class names"),
    wrong_names: ("parquet", "by the class names; one of them is wrong"),
    no_names: ("parquet", "-00002.parquet: 5 classes without names"),
    empty_class_tar: ("archives", "{root}/ILSVRC2012_img_train.tar:n02510455.tar holds no image"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_names_its_culprit(fault, mini, tmp_path):
    form, message = FAULTS[fault]
    root = tmp_path / "root"
    FORMS[form](root, mini)
    fault(root, mini)
    with pytest.raises(ValueError, match=re.escape(message.format(root=root))):
        load(root, tmp_path / "cache")


@pytest.mark.parametrize("num_classes", [1000, 4])
def test_another_number_of_classes(num_classes, mini, tmp_path):
    forms.tree(tmp_path / "root", mini)
    message = (
        f"holds 5 classes, expected {num_classes}; for another set of classes pass data=folder"
    )
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "root", tmp_path / "cache", num_classes)


def test_a_thousand_classes_that_are_not_imagenets(tmp_path):
    for wnid in [*classes.wnids()[:-1], "n99999999"]:
        for split in ("train", "val"):
            forms.write(tmp_path / "root" / split / wnid / "a.jpg", b"")
    with pytest.raises(ValueError, match="n99999999 is no class of ILSVRC 2012; for another set"):
        ImageNet(tmp_path / "root", tmp_path / "cache").load()


def test_labels_in_another_order_are_known_by_the_first_images(tmp_path):
    """val/ sorted into folders by the devkit's numbers as if they counted the sorted wnids."""
    names = [f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, 1001)]
    ids = [490, 361, 171, 822, 297, 482, 13, 704, 599, 164]
    ids += sorted(set(range(1, 1001)) - set(ids))
    by_id = classes.by_devkit_id()
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    for name, number in zip(names, ids, strict=True):
        for root, wnid in ((wrong, classes.wnids()[number - 1]), (right, by_id[number])):
            forms.write(root / "train" / wnid / "a.jpg", b"")
            forms.write(root / "val" / wnid / name, b"")
    message = r"in ILSVRC 2012 it is n\d+ \(.*another order"
    with pytest.raises(ValueError, match=message):
        ImageNet(wrong, tmp_path / "cache").load()
    assert len(ImageNet(right, tmp_path / "cache").load().val) == 1000


def test_nothing_that_is_known(tmp_path):
    root = tmp_path / "root"
    forms.write(root / "notes.txt", "?")
    for number in range(9):
        (root / f"d{number}").mkdir()
    with pytest.raises(
        ValueError, match="found d0, d1, d2, d3, d4, d5, d6, d7, …; expected"
    ) as error:
        load(root, tmp_path / "cache")
    for layout, what in layouts.LAYOUTS.items():
        assert f"  {layout}" in str(error.value)
        assert what in str(error.value)


@pytest.mark.parametrize("inside", ["train", "train/" + WNIDS[0], ".."])
def test_a_root_too_low_or_too_high(inside, mini, tmp_path):
    root = tmp_path / "root"
    forms.tree(root, mini)
    with pytest.raises(ValueError, match=rf"; did you mean data\.root={root}\? Else expected one"):
        load((root / inside).resolve(), tmp_path / "cache")


@pytest.mark.parametrize("form", ["tree", "parquet"])
def test_train_alone(form, mini, tmp_path):
    """Validation is held out of train; there is no test set."""
    FORMS[form](tmp_path / "root", mini)
    for path in (tmp_path / "root").glob("*/validation-*"):
        path.unlink()
    for path in (tmp_path / "root").glob("*/test-*"):
        path.unlink()
    if form == "tree":
        (tmp_path / "root/val").rename(tmp_path / "elsewhere")
    splits = load(tmp_path / "root", tmp_path / "cache")
    assert [len(part) for part in splits[1:]] == [15, 0, 0]


def test_a_root_that_is_a_file(tmp_path):
    root = forms.write(tmp_path / "README.md", "?")
    with pytest.raises(ValueError, match=rf"^data\.root={root}: is a file, not a folder; pass"):
        load(root, tmp_path / "cache")


def test_which_of_two_forms_is_said_by_a_key(mini, tmp_path):
    forms.tree(tmp_path / "root", mini)
    forms.archives(tmp_path / "root", mini)
    for layout in ("folders", "archives"):
        splits = load(tmp_path / "root", tmp_path / "cache", layout=layout)
        assert (":" in splits.train.name(0)) == (layout == "archives")
        assert contents(splits) == expected(mini)
    with pytest.raises(ValueError, match="layout=zip: choose auto, packed, parquet"):
        load(tmp_path / "root", tmp_path / "cache", layout="zip")


def test_an_index_does_not_outlive_what_it_lists(mini, tmp_path):
    root, cache = tmp_path / "root", tmp_path / "cache"
    forms.tree(root, mini)
    assert len(load(root, cache).train) == 15
    (file,) = cache.glob("index/*.npz")
    assert len(load(root, cache).train) == 15
    new = forms.write(root / "train" / WNIDS[0] / "new.jpg", forms.jpeg(5))
    assert len(load(root, cache).train) == 16
    new.unlink()
    assert len(load(root, cache).train) == 15
    file.write_bytes(file.read_bytes()[:-100])
    assert len(load(root, cache).train) == 15
    forms.folders(root / "test", mini["val"])  # a split that was not there
    assert len(load(root, cache).test) == 10


@pytest.mark.parametrize("form", ["archives", pytest.param("kaggle", marks=pytest.mark.slow)])
def test_training_on_it(form, mini, tmp_path):
    root, logs = tmp_path / "root", tmp_path / "logs"
    FORMS[form](root, mini)
    before = snapshot(root)
    words = ["data=imagenet", f"data.root={root}", "data.source.num_classes=5", "debug=fast"]
    words += ["data.image_size=96", "data.scale=small", "data.batch_size=4", "precision=fp32"]
    words += ["model.width=0.125", "data.workers=1", f"paths.logs={logs}", "trainer=cpu"]
    result = shell(*words, f"paths.cache={tmp_path / 'cache'}")
    assert result.returncode == 0, result.stdout + result.stderr
    (run,) = run_dirs(logs)
    assert record(run)["results"]["test/n"] == 10
    assert snapshot(root) == before


def test_a_fault_ends_the_command_before_it_begins(mini, tmp_path):
    form, message = FAULTS[unlabelled]
    root, logs = tmp_path / "root", tmp_path / "logs"
    FORMS[form](root, mini)
    unlabelled(root, mini)
    words = ["data=imagenet", f"data.root={root}", "data.source.num_classes=5", "trainer=cpu"]
    result = shell(*words, f"paths.logs={logs}", f"paths.cache={tmp_path / 'cache'}")
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert message.format(root=root) in result.stderr
    assert not run_dirs(logs)
