"""Paths and plain words, parsed by Hydra's own grammar."""

import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from deeper.cli import arguments

HOSTILE = [
    "a b.jpg", "a,b.jpg", "[x].jpg", "a[1].jpg", "k=v.jpg", "photos/k=v.jpg", "it's.jpg", '"q".jpg', '"q"', "'q'",
    "'x", '"x', "~/a.jpg", "~x.jpg", "back\\slash.jpg", "two\\\\", "end\\", '\\"', '\\\\"x', "\\'",
    "$", "grün 猫 🐈.jpg", "new\nline.jpg", "tab\t.jpg",
    " lead", "trail ", "-dash.jpg", "--cfg", "123", "1e5", "true", "null", "(x).jpg", "{x}.jpg", "a:b", "a#b",
    "%s", "*.jpg", "é/è", "\udcff.jpg", "", "a@b", "!", "&amp;<b>", "x\r\n", "[", "]", "['", '["a","b"]',
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_sweep(monkeypatch):
    """pytest has an option -m too, which asks Hydra for a sweep."""
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.fixture
def composed(tmp_path):
    """The config that overrides come to."""
    (tmp_path / "root.yaml").write_text("run: null\nckpt: null\nfiles: []\ndata:\n  root: null\n")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        yield lambda *overrides: compose("root", list(overrides), return_hydra_config=True)


def test_files_arrive_exactly(composed):
    rewritten = arguments.with_files(["run=x", "--cfg", "job", "--", *HOSTILE])
    assert rewritten[2:] == ["--cfg", "job"]
    assert arguments.with_files(rewritten) == rewritten
    cfg = composed(*rewritten[:2])
    assert list(cfg.files) == HOSTILE
    assert len(list(cfg.hydra.overrides.task)) == 2  # they resolve too


def test_each_file_arrives_exactly_alone(composed):
    lists = [arguments.with_files(["--", name])[0].partition("=")[2] for name in HOSTILE]
    cfg = composed(*(f"+list_{place}={text}" for place, text in enumerate(lists)))
    assert [list(cfg[f"list_{place}"]) for place in range(len(HOSTILE))] == [[n] for n in HOSTILE]


def test_a_path_arrives_exactly(composed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = []
    for name in sorted({*HOSTILE} - {"", "null", "'q'", '"q"', '["a","b"]'}):  # mean something else
        folder = tmp_path / "logs" / name
        folder.mkdir(parents=True, exist_ok=True)
        Path(name).mkdir(parents=True, exist_ok=True)
        paths += [name, str(folder), f"{folder}/new"]
    given = [arguments.quoted(f"run={path}") for path in paths]
    assert [arguments.quoted(word) for word in given] == given
    cfg = composed(*(f"+path_{place}={word[4:]}" for place, word in enumerate(given)))
    assert [cfg[f"path_{place}"] for place in range(len(paths))] == paths
    assert len(list(cfg.hydra.overrides.task)) == len(paths)


def test_an_interpolation_stays_one(composed):
    word = arguments.quoted("run=${data.root}/a b")
    assert composed("data.root=/d", word).run == "/d/a b"


def test_lists_stay_lists(composed):
    assert composed(arguments.quoted("ckpt=[a,b]")).ckpt == ["a", "b"]


def test_sweeps_quote_each_of_their_values(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "-m"])
    assert arguments.quoted("data.root=/a b,/c") == 'data.root="/a b",/c'


@pytest.mark.parametrize(
    ("given", "keys", "files", "options"),
    [
        ("run=x a.jpg b.jpg", "run=x", ["a.jpg", "b.jpg"], ""),
        ("a.jpg run=x b.jpg", "run=x", ["a.jpg", "b.jpg"], ""),
        ("run=x -", "run=x", ["-"], ""),
        ("run=x -- -", "run=x", ["-"], ""),
        ("run=x -- top=3 --", "run=x", ["top=3", "--"], ""),
        ("-cd mine -cn other run=x a", "run=x", ["a"], "-cd mine -cn other"),
        ("a --package _group_", "", ["a"], "--package _group_"),
        ("run=x --config-dir mine", "run=x", [], "--config-dir mine"),
        ("--config-dir=mine a", "", ["a"], "--config-dir=mine"),
        ("run=x --cfg job a", "run=x", ["a"], "--cfg job"),
        ("a -p q run=x -cn=other b", "run=x", ["a", "b"], "-p q -cn=other"),
        ("run=x ~a.jpg", "run=x", ["~a.jpg"], ""),
        ("+hydra.x=1 ++y=2 ~z=3 m/h@p.q=fc a", "+hydra.x=1 ++y=2 ~z=3 m/h@p.q=fc", ["a"], ""),
        ("run=x a,b=c.jpg", "run=x", ["a,b=c.jpg"], ""),
        ("run=x --", "run=x", [], ""),
    ],
)
def test_plain_words_are_files(given, keys, files, options):
    expected = [f"files=[{','.join(map(arguments.in_quotes, files))}]"] if files else []
    rewritten = arguments.with_files(given.split())
    assert rewritten == [*keys.split(), *expected, *options.split()]
    assert arguments.with_files(rewritten) == rewritten


def test_a_file_that_looks_like_an_override_is_one_where_it_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "k=v.jpg").touch()
    assert arguments.with_files(["run=x", "a.jpg", "k=v.jpg"]) == [
        "run=x",
        'files=["a.jpg","k=v.jpg"]',
    ]


def test_a_list_longer_than_any_path_is_an_override():
    word = f"files=[{','.join(['/photos/1.jpg'] * 400)}]"
    assert arguments.with_files([word]) == [word]
    assert arguments.quoted(f"ckpt=[{'a' * 5000}]") == f"ckpt=[{'a' * 5000}]"


def test_two_lists_of_files_are_refused():
    with pytest.raises(ValueError, match="one of the two ways"):
        arguments.with_files(["files=[a]", "b"])
