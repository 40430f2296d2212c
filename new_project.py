"""Turn a clone of this template into a project of your own.

.venv/bin/python new_project.py my_net      after `make install`

It renames the package, removes what was measured, and begins README and changelog anew: docs/template.md.
"""

import argparse
import contextlib
import importlib.util
import keyword
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent

REMOVED = (
    "CITATION.cff",
    "benchmarks/README.md", "benchmarks/results",
    "results/fine_tuning.md", "results/models_and_crops.md", "results/reliability.md",
    "tests/golden/rows.json", "tests/golden/run", "tests/test_earlier_run.py",  # of an earlier commit
    "tests/test_readme.py", "tests/test_new_project.py", "new_project.py",
)  # fmt: skip

YAML = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
"""Words that YAML takes for values."""

WORD = re.compile(r"(?<![A-Za-z])(?<!oing )(?:deeper|Deeper|DEEPER)(?![A-Za-z])")
"""The package, the title, and the prefix of environment variables; not "Going deeper with convolutions"."""

README = """# {name}

What is asked, of which network and which images, and the answer.

```
make train      # sets up .venv, generates a small image set, trains on it
make test       # the tests, the type checker, the linter
```

```
source .venv/bin/activate
python src/train.py --help                              # all groups and their options
python src/train.py data=folder data.root=DIR           # your images: train/<class>/*, val/<class>/*
python src/train.py -m experiment=baseline,no_aux seed=0,1,2
python src/report.py SWEEP                              # the table of a multirun
```

CONTRIBUTING.md says how a network, a data set, an experiment is added. docs/template.md: where this began.
"""

TEMPLATE = """# The template

{name} was made from the research template Deeper {version}, whose licence (MIT) is in LICENSE: its text has to
stay in copies, with the line of its authors. Checkpoints and runs of Deeper name its package, so they load there.
"""

CHANGELOG = """# Changelog

In the form of [Keep a Changelog](https://keepachangelog.com/en/1.1.0/).

## [Unreleased]

- Made from the research template Deeper {version}.
"""

RESULTS = """# Results

What was measured, by which command, on which machine.
"""

WRITTEN = {
    "README.md": README, "CHANGELOG.md": CHANGELOG, "docs/template.md": TEMPLATE, "docs/results.md": RESULTS,
}  # fmt: skip
"""Pages of docs/ stay, since others link to them."""

DONE = """The package is src/{name}, version 0.1.0; these begin anew: {written}.
Removed: {removed}.
Next:
  make train                                  # installs it under its name, and trains
  make test                                   # the tests of what is left
  git add -A && git commit -m "{name}"
Yours to write: README.md, the description in pyproject.toml, a line in LICENSE below that of Deeper.
docs/, notebooks/ and the study in results/ still speak of GoogLeNet. Until the commit, `git reset --hard && git clean -fdx src` undoes all."""


def refusal(name: str) -> str | None:
    """Why the package cannot have this name, or the clone cannot be changed; None if both can be."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        return f"{name!r} is no name of a package: lower-case letters, digits and single _, as in my_net"
    if keyword.iskeyword(name) or name in YAML:
        return f"{name!r} is a word of Python or YAML; choose another name"
    sys.path[:0] = [str(PROJECT / "src"), str(PROJECT / "tests")]
    if found := importlib.util.find_spec(name):
        places = found.origin or [*(found.submodule_search_locations or [])]
        return f"{name!r} is a package already ({places}); choose another name"
    if not (importlib.util.find_spec("ruff") and shutil.which("git")):
        return "git and ruff are needed: make install, then .venv/bin/python new_project.py NAME"
    status = git("status", "--porcelain")
    if status.returncode:
        return "not a git repository: git init && git add -A && git commit -m template, so that all can be undone"
    if status.stdout:
        return f"uncommitted changes, which could not be told from its own; commit them:\n{status.stdout}"
    return None


def git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True)


def renamed(text: str, name: str) -> str:
    return WORD.sub(lambda found: name.upper() if found[0].isupper() else name, text)


def make_project(name: str) -> None:
    package = PROJECT / "src/deeper/__init__.py"
    version = re.findall(r'__version__ = "(.+)"', package.read_text())[0]
    package.write_text(package.read_text().replace(f'"{version}"', '"0.1.0"'))
    for path in map(PROJECT.joinpath, REMOVED):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in map(PROJECT.joinpath, git("ls-files", "-z").stdout.split("\0")):
        if path.is_file() and path.name != "LICENSE":  # its copyright line stays in copies
            content = path.read_bytes()
            with contextlib.suppress(UnicodeDecodeError):  # pictures
                path.write_bytes(renamed(content.decode(), name).encode())
    (PROJECT / "src/deeper").rename(PROJECT / "src" / name)
    for file, text in WRITTEN.items():
        (PROJECT / file).write_text(text.format(name=name, version=version))
    # Of another name the order of imports and the length of lines differ.
    for words in (["check", "--select=I", "--fix"], ["format"]):
        subprocess.run([sys.executable, "-m", "ruff", *words, "--quiet", "."], cwd=PROJECT)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="of the package: lower-case letters, digits and _")
    name = parser.parse_args().name
    if why := refusal(name):
        parser.error(why)
    make_project(name)
    print(DONE.format(name=name, removed=", ".join(REMOVED), written=", ".join(WRITTEN)))


if __name__ == "__main__":
    main()
