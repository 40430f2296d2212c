"""What the README shows is what the project has."""

import re
import shlex

import pytest
from entry import EXPERIMENTS, PROJECT, RECIPES, shell

README = (PROJECT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"^(?:torchrun \S+ |)python src/\S+\.py[^#\n]*", README, re.M)))
STAND_INS = {"DIR": "/data", "RUN": "null", "FILE": "/some.ckpt", "PACKED": "/packed"}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_composes(line):
    words = shlex.split(line)
    script = words[1].removeprefix("src/").removesuffix(".py")
    words = [word for word in words[2:] if word != "-m"]
    for key, value in STAND_INS.items():
        words = [word.replace(f"={key}", f"={value}") for word in words]
    words = [re.sub(r"^(experiment|seed)=(\w+),.*", r"\1=\2", word) for word in words]
    result = shell(*words, "--cfg", "job", script=script)
    assert result.returncode == 0, result.stderr


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
