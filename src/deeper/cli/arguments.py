"""The words of a command line, as Hydra's grammar wants them: paths quoted, plain words as files."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

PATH_KEYS = (
    "data.root", "data.stage_to", "resume", "run", "ckpt", "real", "model.pretrained", "out",
    "paths.logs", "paths.data", "paths.cache", "hydra.run.dir",
)  # fmt: skip

TAKE_A_VALUE = (
    "-cd", "--config-dir", "-cn", "--config-name", "-cp", "--config-path", "-p", "--package",
    "-c", "--cfg", "--experimental-rerun",
)  # fmt: skip
"""Hydra's options that keep the word after them."""

_OVERRIDE = re.compile(r"[+~]{0,2}[\w$][\w$./@:-]*=", re.ASCII)
_LITERAL = r"""(?:[^"\\]|\\.)*"""
_QUOTED = re.compile(rf'"{_LITERAL}"|' + f"'{_LITERAL}'".replace('"', "'"), re.DOTALL)
_NUMBER_OR_BOOL = re.compile(r"[+-]?([\d_.]+(e[+-]?\d+)?|inf|nan)|true|false", re.IGNORECASE)


def quoted(word: str) -> str:
    """A path as Hydra's grammar wants it. Quoting twice changes nothing: DDP ranks run argv again."""
    key, equals, value = word.partition("=")
    if not equals or key.lstrip("+") not in PATH_KEYS:
        return word
    sweep = {"-m", "--multirun"} & {*sys.argv}
    parts = value.split(",") if sweep and value[:1] not in ("'", '"') else [value]
    return f"{key}={','.join(map(_path, parts))}"


def with_files(words: Sequence[str]) -> list[str]:
    """Plain words, and all behind `--`, as one override `files=[…]`; the rest stays as it is.

    A word with a `=` is a file where one of that name exists, `~key` only behind the last override.
    """
    before, behind = list(words), []
    if "--" in before:
        place = before.index("--")
        before, behind = before[:place], before[place + 1 :]
    overrides = [place for place, word in enumerate(before) if _is_override(word)]
    options: list[str] = []
    keys: list[str] = []
    files: list[str] = []
    for place, word in enumerate(before):
        if (word[:1] == "-" and word != "-") or (place and before[place - 1] in TAKE_A_VALUE):
            options.append(word)
        elif place in overrides or (word[:1] == "~" and place < max(overrides, default=0)):
            keys.append(word)
        else:
            files.append(word)
    files += behind
    if files and (given := [word for word in keys if word.startswith("files=")]):
        raise ValueError(f"{given[0]} and plain words: give all files in one of the two ways")
    if files:
        keys.append(f"files=[{','.join(map(literal, files))}]")
    return [*keys, *options]  # Hydra wants its overrides side by side


def literal(text: str) -> str:
    """Of any path the quoted form that Hydra and OmegaConf turn back into exactly this path."""
    if text == "???":  # a missing value to OmegaConf
        text = "./???"
    return _in_quotes(escaped(text))


def escaped(text: str) -> str:
    """What OmegaConf resolves to this text, though it hold `${`."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def _in_quotes(text: str) -> str:
    # The grammar unescapes backslashes only before a quote, and the closing one is one.
    doubled = re.sub(r'\\+(?="|\Z)', lambda run: run[0] * 2, text)
    return '"' + doubled.replace('"', '\\"') + '"'


def _is_override(word: str) -> bool:
    return bool(_OVERRIDE.match(word)) and not os.path.exists(word)  # False for one too long


def _path(path: str) -> str:
    number = _NUMBER_OR_BOOL.fullmatch(path)
    plain = re.fullmatch(r"[A-Za-z0-9_./+-]*", path)  # all else may mean something in the grammar
    if (plain and not number) or path == "???" or _QUOTED.fullmatch(path):
        return path
    if path[0] + path[-1] == "[]" and not os.path.exists(path):
        return path  # a list
    named = any(
        "${" in place.name and os.path.exists(place) for place in (Path(path), *Path(path).parents)
    )
    return literal(path) if named else _in_quotes(path)
