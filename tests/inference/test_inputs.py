"""Which files the names on a command line mean."""

import io
import os

import pytest
from photos import jpeg

from deeper.data.images.encoded import reason
from deeper.inference.inputs import find_images, read_image
from deeper.table import printable


def found(*names, stdin=b"", separator=b"\n"):
    return list(find_images(names, io.BytesIO(stdin), separator))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Images, files of other kinds, a broken link, and a link that leads back."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a/1.png", "a/deep/x.JPG", "[1].jpg", "1.jpg"):
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(1))
    (tmp_path / "p/notes.txt").write_text("not an image")
    (tmp_path / "p/._b.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / "p/page.jpg").write_text("<html>")
    (tmp_path / "p/scan.tif").write_bytes(b"II*\0")
    (tmp_path / "p/gone.png").symlink_to("/nowhere")
    (tmp_path / "p/a/back").symlink_to(tmp_path / "p")
    return tmp_path


def test_a_folder_is_all_images_below_it_sorted(folder):
    assert found("p") == [
        *("p/1.jpg", "p/[1].jpg", "p/b.jpg", "p/gone.png", "p/page.jpg", "p/scan.tif"),
        *("p/a/1.png", "p/a/deep/x.JPG"),
    ]


def test_a_name_that_exists_is_literal_and_any_other_a_glob(folder):
    assert found("p/[1].jpg") == ["p/[1].jpg"]
    assert found("p/[b1].jpg") == ["p/1.jpg", "p/b.jpg"]
    assert found("p/a/dee?") == ["p/a/deep/x.JPG"]
    assert found("p/*/deep/**/*.JPG") == ["p/a/deep/x.JPG"]
    assert found("p/z*", "p/z", "") == ["p/z*", "p/z", ""]  # reading them reports them


def test_home_is_expanded_where_no_file_has_the_name(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder / "p"))
    assert found("~/b.jpg") == [f"{folder}/p/b.jpg"]
    (folder / "~").mkdir()
    (folder / "~/b.jpg").write_bytes(jpeg(1))
    assert found("~/b.jpg") == ["~/b.jpg"]


def test_names_on_standard_input_are_literal(folder):
    names = ["p/1.jpg", "p/a/deep/x.JPG", "p/[b1].jpg"]
    assert found("-", stdin=b"p/1.jpg\n\np/a/deep\np/[b1].jpg") == names
    odd = os.fsdecode(b"p/new\nline\xff")
    assert found("-", stdin=os.fsencode(odd) + b"\0p/1.jpg\0", separator=b"\0") == [odd, "p/1.jpg"]


@pytest.mark.parametrize(
    ("name", "why"), [("p/page.jpg", "its bytes are none of JPEG"), ("p/gone.png", "No such file")]
)
def test_the_reason_stands_without_the_name(folder, name, why):
    with pytest.raises((ValueError, OSError)) as error:
        _ = read_image(name).size
    assert reason(error.value, name).startswith(why)


def test_a_name_is_printed_on_one_line_without_control_characters():
    assert printable("grün 🐈.jpg") == "grün 🐈.jpg"
    assert printable("a\nb\x1b[31m\udcff") == "a\\nb\\x1b[31m\\udcff"
