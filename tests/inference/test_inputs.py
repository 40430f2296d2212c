"""Which files the names on a command line mean."""

import io
import os

import pytest
from photos import ODD, UNREADABLE, jpeg

from deeper.inference import inputs as pictures
from deeper.inference.inputs import Found, find


def found(*names, stdin=b"", separator=b"\n"):
    return list(find(names, io.BytesIO(stdin), separator))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures with and without the names of such, other files, a link that leads back, a pipe."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a/2", "a/1.png", "a/deep/x.JPG", "[1].jpg", "1.jpg"):
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(1))
    (tmp_path / "p/notes.txt").write_text("BMP or P5 is no picture")
    (tmp_path / "p/._b.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / "p/page.jpg").write_text("<html>")
    (tmp_path / "p/scan.tif").write_bytes(b"II*\0")
    (tmp_path / "p/gone.png").symlink_to("/nowhere")
    (tmp_path / "p/a/back").symlink_to(tmp_path / "p")
    os.mkfifo(tmp_path / "p/pipe.jpg")
    return tmp_path


def test_a_folder_is_all_below_it_sorted(folder):
    all_of_it = found("p")
    assert [one.path for one in all_of_it if one.why is None] == [
        *("p/1.jpg", "p/[1].jpg", "p/b.jpg", "p/page.jpg", "p/scan.tif"),
        *("p/a/1.png", "p/a/2", "p/a/deep/x.JPG"),
    ]
    assert Found("p/gone.png", "No such file or directory") in all_of_it
    assert {one.path for one in all_of_it if one.why == ""} == {
        *("p/notes.txt", "p/._b.jpg", "p/pipe.jpg"),
    }


def test_a_name_that_exists_is_literal_and_a_pattern_else(folder):
    assert found("p/[1].jpg") == [Found("p/[1].jpg")]
    assert found("p/[b1].jpg") == [Found("p/1.jpg"), Found("p/b.jpg")]
    assert found("**/*.JPG") == [Found("p/a/deep/x.JPG")]
    assert found("p/a/dee?") == [Found("p/a/deep/x.JPG")]
    assert found("p/z*") == [Found("p/z*", "no such file, and as a pattern it matches nothing")]
    assert found("p/z", "") == [
        Found("p/z", "No such file or directory"),
        Found("", "No such file or directory"),
    ]


def test_home_is_meant_where_no_file_has_the_name(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder / "p"))
    assert found("~/b.jpg") == [Found(f"{folder}/p/b.jpg")]
    (folder / "~").mkdir()
    (folder / "~/b.jpg").write_bytes(jpeg(1))
    assert found("~/b.jpg") == [Found("~/b.jpg")]


def test_standard_input_is_names_and_no_patterns(folder):
    assert found("-", stdin=b"p/1.jpg\n\np/a/deep\np/[b1].jpg") == [
        Found("p/1.jpg"),
        Found("p/a/deep/x.JPG"),
        Found("p/[b1].jpg", "No such file or directory"),
    ]
    odd = os.fsdecode(b"p/new\nline\xff")
    (folder / odd).write_bytes(jpeg(1))
    names = os.fsencode(odd) + b"\0p/1.jpg\0"
    assert found("-", stdin=names, separator=b"\0") == [Found(odd), Found("p/1.jpg")]


def test_pictures_are_known_by_their_bytes():
    for name, data in ODD.items():
        assert pictures._begins_as_picture(data), name
    assert not pictures._begins_as_picture(UNREADABLE["text"])
    assert not pictures._begins_as_picture(b"")


def test_a_large_file_that_is_no_picture_is_not_read(tmp_path):
    with (tmp_path / "film.jpg").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="its bytes are none of") as error:
        pictures.read(str(tmp_path / "film.jpg"))
    reason = pictures.reason(error.value, str(tmp_path / "film.jpg"))
    assert reason == "its bytes are none of JPEG, PNG, GIF, WEBP, BMP, PPM"


def test_a_large_file_that_begins_as_a_picture_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", 1 << 20)
    with (tmp_path / "film.jpg").open("wb") as file:
        file.write(jpeg(1))
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="larger than"):
        pictures.read(str(tmp_path / "film.jpg"))


def test_a_name_stands_on_one_line_and_commands_no_terminal():
    assert pictures.spelt("grün 🐈.jpg") == "grün 🐈.jpg"
    assert pictures.spelt("a\nb\x1b[31m\udcff") == "a\\nb\\x1b[31m\\udcff"
