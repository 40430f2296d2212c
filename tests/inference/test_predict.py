"""What predict.py prints, counts and refuses, on images with names that shells and parsers dislike."""

import csv
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from entry import PROJECT, command, hear_ctrl_c, shell

import deeper
from deeper.cli.arguments import with_files
from deeper.config.check import check_predict
from deeper.data.images.encoded import Encoded
from deeper.inference.model import Trained
from deeper.inference.predict import predict

NAMES = (
    "a b.jpg", "a,b.jpg", "[x].jpg", "x.jpg", "k=v.jpg", 'it\'s "q".jpg', "$HOME x.jpg",
    "back\\slash\\.jpg", "new\nline\t.jpg", "grün 🐈.png", "-dash.jpg", "~t.jpg", "<b>&amp;.jpg",
    "sub/*.jpg", "sub/null.png", os.fsdecode(b"\xff.jpg"),
)  # fmt: skip
UNREADABLE = ("cut.jpg", "empty.jpg", "page.jpg", "sub/gone.jpg")


@pytest.fixture(scope="module")
def folder(images, tmp_path_factory):
    """An image of the data under each of NAMES, four that cannot be read, and a text."""
    root = tmp_path_factory.mktemp("predict") / "photos"
    (root / "sub").mkdir(parents=True)
    pictures = sorted((images / "val").rglob("*.*"))
    for name, picture in zip(NAMES, pictures[:: len(pictures) // len(NAMES)], strict=False):
        shutil.copyfile(picture, root / name)
    whole = pictures[0].read_bytes()
    (root / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "empty.jpg").touch()
    (root / "page.jpg").write_text("<html>404</html>")
    (root / "sub/gone.jpg").symlink_to("/nowhere")
    (root / "notes.txt").write_text("not an image")
    return root


@pytest.fixture(scope="module")
def expected(folder, trained_run):
    """Name → (class, probability) of the five most probable, each image alone."""
    trained = deeper.load(trained_run)
    found = {}
    for name in NAMES:
        best = trained.probabilities([Encoded((folder / name).read_bytes(), name)])[0].topk(5)
        classes = [trained.classes[place] for place in best.indices]
        found[name] = list(zip(classes, best.values.tolist(), strict=True))
    return found


@pytest.fixture
def ask(configs, trained_run, monkeypatch, folder, tmp_path):
    """`ask("format=json", files=[…])` in the folder, in this process: counts and what was written."""
    monkeypatch.chdir(folder)

    def run(*words, files=("-",), stdin="/dev/null"):
        out = tmp_path / "out"
        if not any(word.startswith(("run=", "ckpt=")) for word in words):
            words = (f"run={trained_run}", *words)
        words = [*with_files(["precision=fp32", f"out={out}", "--", *files]), *words]
        cfg = configs(*words, name="predict")
        check_predict(cfg)
        with open(stdin) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            counts = predict(cfg)
        return counts, out.read_text(encoding="utf-8", errors="surrogateescape")

    return run


def close(guesses, expected):
    assert [name for name, _ in guesses] == [name for name, _ in expected]
    assert [p for _, p in guesses] == pytest.approx([p for _, p in expected], abs=2e-4)


def test_json_has_every_image_and_what_the_network_says_of_it(ask, expected, capfd):
    counts, text = ask("format=json", "batch_size=5", files=["."])
    assert counts == (len(NAMES), len(UNREADABLE))
    rows = {row["file"].removeprefix("./"): row["top"] for row in json.loads(text)}
    assert set(rows) == set(NAMES)
    for name, top in rows.items():
        close([(guess["class"], guess["probability"]) for guess in top], expected[name])
        assert all(guess["words"] == guess["class"] for guess in top)
    errors = capfd.readouterr().err
    for name, why in zip(UNREADABLE, ("truncated", "empty", "none of", "No such"), strict=True):
        assert re.search(rf"^cannot read \./{re.escape(name)}: .*{why}", errors, re.M), errors
    assert f"images: {len(NAMES)} read, 4 could not be read" in errors


def test_tsv_has_a_line_for_each_guess(ask, expected):
    _, text = ask("format=tsv", "top=3", files=NAMES)
    lines = text.removesuffix("\n").split("\n")
    rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == 3 * len(NAMES)
    for place, name in enumerate(NAMES):
        three = rows[3 * place : 3 * place + 3]
        escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
        assert {row["file"] for row in three} == {escaped}
        assert [row["rank"] for row in three] == ["1", "2", "3"]
        close([(row["class"], float(row["probability"])) for row in three], expected[name][:3])


class Images(HTMLParser):
    """What a page shows: alternative texts, sources, and all text."""

    def __init__(self, text):
        super().__init__()
        self.alts, self.tags, self.text = [], set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "img":
            assert dict(attributes)["src"].startswith("data:image/jpeg;base64,/9j/")
            self.alts.append(dict(attributes)["alt"])

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_images_names_and_labels(ask, expected):
    _, text = ask("format=html", files=[*NAMES, "cut.jpg"])
    page = Images(text)
    assert page.alts[0] == "a b.jpg"
    assert page.alts[NAMES.index("<b>&amp;.jpg")] == "<b>&amp;.jpg"
    assert len(page.alts) == len(NAMES)
    assert not page.tags & {"script", "link", "b", "iframe"}
    assert "http://" not in text
    assert "https://" not in text
    for name in ("k=v.jpg", "sub/*.jpg"):
        assert f"{expected[name][0][0]}{expected[name][0][1]:.1%}" in page.text
    assert "cut.jpg: " in page.text


def test_names_come_from_standard_input(ask, tmp_path):
    names = tmp_path / "names"
    names.write_bytes(b"\0".join(map(os.fsencode, NAMES)))
    counts, text = ask("format=json", "zero=true", "top=20", stdin=names)
    assert [row["file"] for row in json.loads(text)] == list(NAMES)
    assert {len(row["top"]) for row in json.loads(text)} == {10}  # there are no more classes
    assert counts == (len(NAMES), 0)


def test_no_image_at_all_is_a_mistake(ask, tmp_path):
    (tmp_path / "empty").mkdir()
    for files in (["-"], [str(tmp_path / "empty")]):
        with pytest.raises(ValueError, match="no images in"):
            ask("top=1", files=files)
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_counted(ask):
    assert ask("top=1", files=["/nowhere*", "gone.jpg"])[0] == (0, 2)


def test_a_shell_gives_names_exactly_and_gets_a_status(folder, trained_run, expected, tmp_path):
    script = f'cd "$1" && shift && exec {sys.executable} {PROJECT}/src/predict.py "$@" -- *.jpg'
    words = [f"run={trained_run}", "precision=fp32", "top=1", f"paths.cache={tmp_path}"]
    result = subprocess.run(
        ["bash", "-c", script, "bash", str(folder), *words],
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 1, result.stderr
    lines = result.stdout.decode().splitlines()
    there = [name for name in NAMES if name.endswith(".jpg") and "/" not in name]
    assert len(lines) == 2 * len(there)
    shown = dict(zip(lines[::2], (line.split()[-1] for line in lines[1::2]), strict=True))
    for name in there:
        spelt = name.replace("\n", "\\n").replace("\t", "\\t").replace("\udcff", "\\udcff")
        assert shown[spelt] == expected[name][0][0]
    assert result.stderr.count(b"cannot read") == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["files=[]"], "say which images: files, folders, globs, or -"),
        (["top=0", "batch_size=0", "zero=true", "files=[a]"], "3 problems in the configuration"),
        (["out=/nowhere/at/all"], "out=/nowhere/at/all: No such file or directory; choose another"),
        (["out=/dev/null"], "out=/dev/null: not a plain file"),
        (["out=x.csv"], r"x.csv: no output format is called .csv; let the file end in .txt, .tsv"),
        (["device=abacus"], "device=abacus: .*; choose auto, cpu, cuda"),
        (["device=cuda:99"], "device=cuda:99: .*; choose auto, cpu, cuda"),
    ],
)
def test_mistakes_are_said(ask, words, message):
    with pytest.raises(ValueError, match=message):
        ask(*words)


def test_files_are_named_in_one_way():
    with pytest.raises(ValueError, match="give all files in one of the two ways"):
        with_files(["run=/r", "files=[a]", "b"])


def test_ctrl_c_leaves_what_is_done(folder, trained_run, tmp_path):
    words = [f"run={trained_run}", "format=json", "batch_size=2", f"paths.cache={tmp_path}", "-"]
    started = subprocess.Popen(
        [sys.executable, str(PROJECT / "src/predict.py"), *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=hear_ctrl_c, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert started.stdin is not None
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdin.write(f"{folder}/x.jpg\n" * 8)
        started.stdin.flush()
        lines = [started.stdout.readline() for _ in range(3)]  # and it waits for more names
        started.send_signal(signal.SIGINT)
        rest, errors = started.stdout.read(), started.stderr.read()
        started.wait(timeout=60)
    finally:
        started.kill()
        started.communicate()
    assert started.returncode == 130, errors
    assert len(json.loads("".join([*lines, rest]))) >= 2
    assert re.search(r"^images: \d read, 0 could not be read$", errors, re.M)
    assert "Traceback" not in errors


def test_a_reader_that_leaves_is_no_crash(folder, trained_run, tmp_path):
    script = f'{sys.executable} {PROJECT}/src/predict.py "$@" | head -1; echo ${{PIPESTATUS[0]}}'
    words = [f"run={trained_run}", f"paths.cache={tmp_path}", "batch_size=1", "format=html"]
    result = command("bash", "-c", script, "bash", *words, *[str(folder)] * 50)
    assert result.stdout.splitlines() == ["<!doctype html>", "141"]
    assert "Traceback" not in result.stderr


def test_help_says_what_exits_mean():
    told = shell("--help", script="predict").stdout
    assert "Exit status: 0 if all were read, 1 if any was not, 2 for a mistake" in told


def test_a_non_finite_output_is_an_error_and_no_class(ask, monkeypatch, capfd):
    logits = Trained.forward
    monkeypatch.setattr(Trained, "forward", lambda self, images: logits(self, images) * math.nan)
    counts, text = ask("format=json", files=["x.jpg"])
    assert counts == (0, 1)
    assert json.loads(text) == []
    assert "cannot read x.jpg: the network's output is not finite" in capfd.readouterr().err
