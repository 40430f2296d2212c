"""Rewrites a command line for Hydra's grammar: paths are quoted, plain words become `files=[…]`."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

CONFIG_FOLDER = Path(__file__).resolve().parents[3] / "configs"

PATH_KEYS = (
    "data.root", "data.stage_to", "resume", "run", "ckpt", "real", "model.pretrained", "out",
    "paths.logs", "paths.data", "paths.cache", "hydra.run.dir",
)  # fmt: skip

TAKE_A_VALUE = (
    "-cd", "--config-dir", "-cn", "--config-name", "-cp", "--config-path", "-p", "--package",
    "-c", "--cfg", "--experimental-rerun",
)  # fmt: skip
"""Hydra's options that are followed by a value."""

_OVERRIDE = re.compile(r"[+~]{0,2}[\w$][\w$./@:-]*=", re.ASCII)
_AS_IT_IS = re.compile(r"""\?\?\?|[\w./+-]*|\[.*\]|".+"|'.+'""", re.ASCII | re.DOTALL)
"""Values that Hydra reads as they are: words, lists, and what is quoted already."""
_NUMBER_OR_BOOL = re.compile(r"[+-]?([\d_.]+(e[+-]?\d+)?|inf|nan)|true|false", re.IGNORECASE)


def quoted(word: str) -> str:
    """An override whose path is quoted where it has to be.

    Quoting twice changes nothing, since Lightning starts DDP ranks with the rewritten arguments.
    """
    key, equals, value = word.partition("=")
    if not equals or key.lstrip("+") not in PATH_KEYS:
        return word
    sweep = {"-m", "--multirun"} & {*sys.argv}
    paths = value.split(",") if sweep and value[:1] not in ("'", '"') else [value]
    return f"{key}={','.join(map(_path, paths))}"


def with_files(words: Sequence[str]) -> list[str]:
    """Plain words, and all words after `--`, as one override `files=[…]`.

    A word with a `=` is a file where one of that name exists.
    """
    before, after = list(words), []
    if "--" in before:
        place = before.index("--")
        before, after = before[:place], before[place + 1 :]
    options: list[str] = []
    overrides: list[str] = []
    files: list[str] = []
    for previous, word in zip(["", *before], before, strict=False):
        if (word[:1] == "-" and word != "-") or previous in TAKE_A_VALUE:
            options.append(word)
        elif _OVERRIDE.match(word) and not os.path.exists(word):
            overrides.append(word)
        else:
            files.append(word)
    files += after
    if files:
        if given := [word for word in overrides if word.startswith("files=")]:
            raise ValueError(f"{given[0]} and plain words: give all files in one of the two ways")
        overrides.append(f"files=[{','.join(map(in_quotes, files))}]")
    return [*overrides, *options]  # Hydra wants its overrides side by side


def in_quotes(text: str) -> str:
    """A string of Hydra's grammar, which unescapes backslashes only before a quote."""
    doubled = re.sub(r'\\+(?="|\Z)', lambda run: run[0] * 2, text)
    return '"' + doubled.replace('"', '\\"') + '"'


def _path(path: str) -> str:
    plain = _AS_IT_IS.fullmatch(path) and not _NUMBER_OR_BOOL.fullmatch(path)
    return path if plain else in_quotes(path)


def config_name() -> str:
    """Name of the root config: that of the entry point, unless the command line gives another."""
    return _option("--config-name", "-cn") or Path(sys.argv[0]).stem


def config_folders() -> list[Path]:
    """Our config folder, and that of --config-dir."""
    added = _option("--config-dir", "-cd")
    return [CONFIG_FOLDER, *([Path(added)] if added else [])]


def _option(*names: str) -> str | None:
    """The value of one of Hydra's own options on the command line."""
    for place, word in enumerate(sys.argv):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else next(iter(sys.argv[place + 1 :]), None)
    return None
