"""What every entry point answers before it composes a config, and to words that Hydra cannot parse."""

import sys
from pathlib import Path

import pytest
from entry import PROJECT, command, shell

from deeper.cli import main as command_line
from deeper.cli import messages
from deeper.config import schema


@pytest.fixture
def said(configs, monkeypatch):
    """What a user reads of the mistake in a command line of train.py."""

    def mistake(word):
        monkeypatch.setattr(sys, "argv", ["train.py", word])
        with pytest.raises(Exception) as caught:  # noqa: PT011
            configs(word)
        return messages.mistake(caught.value)

    return mistake


def test_of_a_sweep_the_word_that_is_wrong_is_named(monkeypatch):
    words = ["train.py", "-m", "experiment=baseline,no_aux", "model/aux=null"]
    monkeypatch.setattr(sys, "argv", words)
    assert messages._no_option().startswith("model/aux=null: no such option")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model/aux=null", "model/aux=null: no such option; choose from "),
        ("recipe=5", "recipe=5: no such option; choose from baseline, "),
        ("@x=1", "Config group override must be a string or a list. Got int; --help lists"),
        ("name=a=b", "name=a=b: Hydra cannot read this (mismatched input '='); put the value in"),
        ("seed=1,", "seed=1,: Hydra cannot read this (mismatched input '<EOF>'); put the value in"),
        ("", "'': no key=value; this program takes no files"),
        ("photo.jpg", "photo.jpg: no key=value; this program takes no files"),
        (
            "nowhere.at=1",
            "Could not override 'nowhere.at': no such key; --help lists what there is",
        ),
    ],
)
def test_the_word_is_named_and_what_may_stand_there(said, word, message):
    assert said(word).startswith(message)


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
def test_every_entry_point_starts_and_shows_its_config(script):
    result = shell("--cfg", "job", script=script)
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


def test_a_key_that_nothing_reads_is_refused(configs):
    cfg = configs("+epoch=3", "+foo=1", "+rate=0.05", "lr=${rate}")
    assert schema.unknown_keys(cfg) == [
        "epoch: no such key; did you mean 'epochs'?",
        "foo: no such key; --help lists what there is",
    ]


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
