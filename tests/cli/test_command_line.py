"""What every entry point answers before it composes a config, and to words that Hydra cannot parse."""

import re
import sys
from pathlib import Path

import pytest
from entry import PROJECT, call, command

from deeper.cli import main as command_line
from deeper.cli import messages
from deeper.cli.arguments import quoted
from deeper.config.groups import group_options
from deeper.config.translation import WORDS


@pytest.fixture
def said(configs, monkeypatch):
    """What a user reads of the mistake in a command line of train.py."""

    def read(word):
        monkeypatch.setattr(sys, "argv", ["train.py", word])
        with pytest.raises(Exception) as caught:  # noqa: PT011
            configs(quoted(word))
        return messages.mistake(caught.value)

    return read


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("experiment=noaux", "experiment=noaux: no such option; did you mean 'no_aux'?"),
        ("model/aux=null", "model/aux=null: no such option; choose from adaptive, inception4a, "),
        (
            "experiment=[no_aux,noaux]",
            "experiment=noaux: no such option; did you mean 'no_aux'?",
        ),
        ("trainer=many", "trainer=many: no such option; choose from auto, cpu, ddp, "),
        ("recipe=5", "recipe=5: no such option; choose from baseline, "),
        (
            "model.head.dropuot=0.5",
            "Could not override 'model.head.dropuot': no such key; did you mean 'dropout'?",
        ),
        (
            "optmizer.lr=0.1",
            "Could not override 'optmizer.lr': no such key; did you mean 'optimizer'?",
        ),
        (
            "experimnt=no_aux",
            "Could not override 'experimnt': no such key; did you mean 'experiment'?",
        ),
        ("nowhere.at=1", "Could not override 'nowhere.at': no such key; choose from "),
        (
            "precision=bf17",
            "Error merging override precision=bf17\nInvalid value 'bf17', expected one of [auto,",
        ),
        ("name=a=b", "name=a=b: Hydra cannot read this (mismatched input '='); put the value in"),
        ("seed=1,", "seed=1,: Hydra cannot read this (mismatched input '<EOF>'); put the value in"),
        ("", "'': no key=value; this program takes no files"),
        ("photo.jpg", "photo.jpg: no key=value; this program takes no files"),
        (
            "model/aux@x=none",
            "Could not override 'model/aux@x'.\nDid you mean to override model/aux?",
        ),
    ],
)
def test_the_word_is_named_and_what_may_stand_there(said, word, message):
    assert said(word).startswith(message)
    assert "+" not in said(word)  # Hydra's advice to append a key hides most typos


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_lightning_hydra_template_is_answered_by_ours(said, word):
    wrong, what = (word, "option") if "=" in word else (f"{word}=1", "key")
    assert re.fullmatch(rf".*: no such {what}; here {re.escape(WORDS[word])}", said(wrong))


def test_our_words_in_the_answers_exist(configs):
    words = re.findall(r"([\w.]+)=([a-z0-9][^\s,]*)", " ".join(WORDS.values()))
    for group, option in words:
        assert option in group_options().get(group, [option])
    configs(*{group: f"{group}={option}" for group, option in words}.values())


def test_a_value_error_of_other_code_is_no_mistake():
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("x")
    assert messages.mistake(caught.value) is None


def test_behind_two_dashes_are_no_options(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["predict.py", "run=x", "--", "--version", "-h"])
    assert command_line._answer("") is None
    monkeypatch.setattr(sys, "argv", ["predict.py", "--version", "--", "a"])
    assert command_line._answer("").startswith("Deeper ")


@pytest.mark.parametrize("script", ["train", "eval", "predict", "export", "prepare", "bench"])
def test_every_entry_point_shows_its_config(script):
    result = call("--cfg", "job", script=script)
    assert result.returncode == 0, result.stderr
    assert f"task_name: {script}" in result.stdout


def test_a_reader_of_help_may_leave():
    script = f"{sys.executable} {PROJECT}/src/train.py --help | true; echo ${{PIPESTATUS[0]}}"
    result = command("bash", "-c", script)
    assert "Traceback" not in result.stderr
    assert result.stdout.strip() in ("0", "141")


@pytest.mark.parametrize("name", ["eval", "predict", "export", "prepare", "bench"])
def test_a_multirun_leaves_nothing_where_the_user_stands(configs, name):
    hydra = configs("paths.logs=/l", "paths.cache=/c", name=name, return_hydra_config=True).hydra
    assert str(hydra.sweep.dir).startswith(("/c/", "/l/"))
    assert hydra.job_logging.handlers.console.level == "WARNING"


def test_an_error_of_the_system_in_a_task_keeps_its_traceback():
    with pytest.raises(FileNotFoundError):
        command_line.task(lambda cfg: Path("/nowhere/at/all").read_text())(None)


def test_an_interrupt_that_a_library_hides_is_still_one():
    def saving(cfg):
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("unexpected pos 64 vs 0")

    with pytest.raises(SystemExit) as end:
        command_line.task(saving)(None)
    assert end.value.code == 130
