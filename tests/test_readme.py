"""Commands, recipes and experiments of the README exist."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from entry import EXPERIMENTS, PROJECT, RECIPES, TAKE_FILES

from deeper.cli.arguments import quoted, with_files

README = (PROJECT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"^(?:torchrun \S+ |)python src/\S+\.py[^#\n]*", README, re.M)))
STAND_INS = {"DIR": "/data", "RUN": "null", "FILE": "/some.ckpt", "PACKED": "/packed"}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_composes(line, configs, monkeypatch):
    words = shlex.split(line)
    words = words[next(place for place, word in enumerate(words) if word.startswith("src/")) :]
    script, words = Path(words[0]).stem, [word for word in words[1:] if word != "-m"]
    monkeypatch.setattr(sys, "argv", [script])
    for key, value in STAND_INS.items():
        words = [word.replace(f"={key}", f"={value}") for word in words]
    words = [re.sub(r"^(experiment|seed)=(\w+),.*", r"\1=\2", word) for word in words]
    given = with_files(words) if script in TAKE_FILES else words
    configs(*map(quoted, given), name=script)


def test_commands_were_found():
    assert len(COMMANDS) >= 10


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.M)) <= targets


def test_every_recipe_and_experiment_is_in_its_table():
    for name in RECIPES + EXPERIMENTS:
        assert f"`{name}`" in README, name


def test_it_is_short():
    assert len(README.splitlines()) <= 240
    assert len((PROJECT / "CONTRIBUTING.md").read_text().splitlines()) <= 100
