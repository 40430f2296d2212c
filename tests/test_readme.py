"""Commands, recipes and experiments of the README and of the site's pages exist."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from entry import EXPERIMENTS, PROJECT, RECIPES, TAKE_FILES
from hydra._internal.utils import get_args_parser

from deeper.cli.arguments import quoted, with_files
from deeper.figures.forest import STUDIES

README = (PROJECT / "README.md").read_text()
PAGES = "\n".join([README, *(page.read_text() for page in (PROJECT / "docs").glob("*.md"))])
LINES = re.findall(r"^(?:torchrun \S+ |)python src/\S+\.py[^#\n]*", PAGES, re.M)
COMMANDS = sorted({line.strip() for line in LINES})
STAND_INS = {
    "DIR": "/data", "FILE": "/some.ckpt", "PACKED": "/packed", "RUN": "null", "SWEEP": "null",
}  # fmt: skip


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_composes(line, configs, monkeypatch):
    words = shlex.split(line)
    words = words[next(place for place, word in enumerate(words) if word.startswith("src/")) :]
    script, words = Path(words[0]).stem, words[1:]
    monkeypatch.setattr(sys, "argv", [script])
    for key, value in STAND_INS.items():
        words = [word.replace(f"={key}", f"={value}") for word in words]
    words = [re.sub(r"^(experiment|seed)=(\w+),.*", r"\1=\2", word) for word in words]
    given = with_files(words) if script in TAKE_FILES else words
    overrides = get_args_parser().parse_intermixed_args(given).overrides  # without -m, --cfg job …
    configs(*map(quoted, overrides), name=script)


def test_commands_were_found():
    assert len(COMMANDS) >= 10


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", PAGES, re.M)) <= targets


def test_every_recipe_and_experiment_is_in_its_table():
    tables = (PROJECT / "docs/recipes.md").read_text()
    for name in RECIPES + EXPERIMENTS:
        assert f"`{name}`" in tables, name


def test_every_link_leads_to_a_file():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (PROJECT / link).exists(), link


@pytest.mark.parametrize("study", STUDIES)
def test_the_studys_table_is_that_of_the_stored_runs(study):
    """Difference, interval and verdict of each arm, in points."""
    arms = json.loads((PROJECT / "results" / study / "table.json").read_text())["arms"]
    for arm in (arm for arm in arms if arm["difference"] is not None):
        name = arm["experiment"].replace("+", "` + `")
        numbers = (
            f"{100 * arm[key]:+.1f}".replace("-", "−") for key in ("difference", "low", "high")
        )
        row = "| `{}` | {} ({} to {}) |".format(name, *numbers)
        (line,) = (line for line in README.splitlines() if line.startswith(row))
        assert line.endswith(f"| {arm['verdict'] or ''} |")


def test_it_is_short():
    assert len(README.splitlines()) <= 170
    assert len((PROJECT / "CONTRIBUTING.md").read_text().splitlines()) <= 100
