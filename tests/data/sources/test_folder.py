"""Images in class folders: which are found, and the errors about wrong folders and files."""

import os
import re
import struct
from pathlib import Path

import pytest
from PIL import Image

from deeper.data.sources.folder import Folder

COLOURS = {"train": (255, 0, 0), "val": (0, 255, 0), "test": (0, 0, 255)}


def make(root: Path, splits=("train", "val"), classes=("ant", "bee"), each=2) -> Path:
    """A colour a split, so that an image says where it came from."""
    for split in splits:
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for number in range(each):
                picture = Image.new("RGB", (6, 4), COLOURS[split])
                picture.save(root / split / name / f"{number}.png")
    return root


def folder(root: Path, **options) -> Folder:
    return Folder(root, root.parent / f"{root.name} cache", **options)


def refused(root: Path, message: str, **options):
    """`message` is the beginning."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        folder(root, **options).load()


def colours(part):
    return {part[i][0].pil().getpixel((0, 0)) for i in range(len(part))}


@pytest.mark.parametrize(
    ("found", "val", "test"),
    [(["val"], "val", "val"), (["test"], "test", "test"), (["val", "test"], "val", "test")],
)
def test_layout(tmp_path, found, val, test):
    splits = folder(make(tmp_path, ["train", *found]), num_classes=2).load()
    assert splits.classes == ["ant", "bee"]
    assert [part.labels.tolist() for part in splits[1:]] == [[0, 0, 1, 1]] * 3
    for part, name in zip(splits[1:], ("train", val, test), strict=True):
        assert colours(part) == {COLOURS[name]}
        image, label = part[3]
        assert (image.pil().mode, image.size, label) == ("RGB", (6, 4), 1)


def test_what_is_no_image_is_passed_over(tmp_path):
    make(tmp_path)
    (tmp_path / "train/ant/notes.txt").write_text("?")
    (tmp_path / "train/LICENSE").write_text("?")
    Image.new("L", (6, 4)).save(tmp_path / "train/ant/GREY.JPEG")
    train = folder(tmp_path).load().train
    assert train.labels.tolist() == [0, 0, 0, 1, 1]
    assert {train[i][0].pil().mode for i in range(5)} == {"RGB"}


def test_a_missing_root(tmp_path):
    root = tmp_path / "nowhere"
    refused(
        root, f"data.root={root}: no such folder; pass data.root=<a folder with train/<class>/*"
    )


@pytest.mark.parametrize(
    ("folders", "found"),
    [([], "nothing"), (["val"], "val"), (["training", "valid"], "training, valid")],
)
def test_another_layout(tmp_path, folders, found):
    for name in folders:
        (tmp_path / "root" / name).mkdir(parents=True)
    (tmp_path / "root").mkdir(exist_ok=True)
    refused(tmp_path / "root", f"data.root={tmp_path}/root: found {found}; expected one of\n")


def test_no_class_folders(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    split = tmp_path / "train"
    refused(tmp_path, f"{split} holds no class folders; expected {split}/<class>/*.jpg")


def test_what_systems_leave_behind_is_no_class(tmp_path):
    make(tmp_path)
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
        (tmp_path / "train" / name).mkdir()
        (tmp_path / "val/bee" / name).mkdir()
    for name in (".DS_Store", "Thumbs.db", "._0.png", "._0.tif"):
        (tmp_path / "train/bee" / name).write_bytes(b"?")
    splits = folder(tmp_path).load()
    assert splits.classes == ["ant", "bee"]
    assert len(splits.train) == len(splits.val) == 4


@pytest.mark.parametrize("suffix", [".GIF", ".jfif", ".pgm"])
def test_every_format_that_is_read_is_found(suffix, tmp_path):
    source = make(tmp_path) / "train/bee/0.png"
    Image.open(source).convert("L").save(
        source.with_suffix(suffix), {".GIF": "GIF", ".pgm": "PPM"}.get(suffix, "JPEG")
    )
    train = folder(tmp_path).load().train
    assert len(train) == 5
    assert [picture.pil().size for picture, _ in map(train.__getitem__, range(5))] == [(6, 4)] * 5


def with_a_picture(folder):
    folder.mkdir()
    (folder / "a.png").touch()


@pytest.mark.parametrize(
    ("make_it", "name", "message"),
    [
        (Path.touch, "train/bee/a.TIF", "is of a format that is not read; convert such files to"),
        (with_a_picture, "val/ant/more", "is a folder beside images"),
    ],
    ids=["format", "folder"],
)
def test_no_picture_is_passed_over(make_it, name, message, tmp_path):
    make_it(make(tmp_path) / name)
    with pytest.raises(ValueError, match=f"^{re.escape(str(tmp_path / name))} {message}"):
        folder(tmp_path).load()


def short_chunk(path: Path) -> None:
    """Pixels that end too early by their length field: what follows them is read as a chunk's name."""
    content = bytearray(path.read_bytes())
    at = content.index(b"IDAT") - 4
    content[at : at + 4] = struct.pack(">I", 4)
    path.write_bytes(content)


BREAK = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("<html>404</html>"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "missing": Path.unlink,
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "chunk": short_chunk,
}


@pytest.mark.parametrize("how", BREAK)
def test_an_image_that_cannot_be_read_is_named(tmp_path, how):
    path = make(tmp_path) / "train/bee/0.png"
    train = folder(tmp_path).load().train
    BREAK[how](path)
    with pytest.raises(ValueError, match=f"^cannot read the image {re.escape(str(path))}: ."):
        train[2][0].pil()
    assert train[3][1] == 1


HOSTILE = [
    "two  words.jpg", " lead.jpg", "it's.jpg", 'say "hi".jpg', "[0-9]*?.jpg", "{a,b}.jpg",
    "日本語.jpg", "e\u0301.jpg", "$HOME.jpg", "-rf.jpg", "a\nb.jpg", "%s.jpg", "back\\slash.jpg",
    os.fsdecode(b"latin\xe9.jpg"),
]  # fmt: skip


def test_hostile_names(tmp_path):
    root = make(tmp_path / "my [data] ü", classes=("it's a class", "ünï [x]"))
    for number, name in enumerate(HOSTILE):
        path = root / "train/it's a class" / name
        try:
            Image.new("RGB", (10 + number, 4)).save(path, format="PNG")
        except OSError:  # a file system that takes only some names
            continue
    splits = folder(root).load()
    assert splits.classes == ["it's a class", "ünï [x]"]
    names = sorted(os.listdir(root / "train/it's a class"))
    assert len(names) > len(HOSTILE) / 2
    widths = {splits.train[i][0].size[0] for i in range(len(names))}
    assert widths == {6} | {10 + i for i, name in enumerate(HOSTILE) if name in names}
