"""Rewrites a command line for Hydra's grammar: paths are quoted, plain words become `files=[…]`."""

import os
import re
import sys
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser

from deeper.config.groups import group_options

PATH_KEYS = (
    "data.root", "data.stage_to", "resume", "run", "ckpt", "real", "model.pretrained", "out",
    "keep", "workspace", "report", "paths.logs", "paths.data", "paths.cache", "hydra.run.dir",
)  # fmt: skip

_OVERRIDE = re.compile(r"[+~]{0,2}[\w$][\w$./@:-]*=", re.ASCII)
_AS_IT_IS = re.compile(r"""\?\?\?|[\w./+-]*|\[.*\]|".+"|'.+'""", re.ASCII | re.DOTALL)
"""Values that Hydra reads as they are: words, lists, and what is quoted already."""
_NUMBER_OR_BOOL = re.compile(r"[+-]?([\d_.]+(e[+-]?\d+)?|inf|nan)|true|false", re.IGNORECASE)


def quoted(word: str) -> str:
    """An override whose path or option is quoted where Hydra would read something else in it.

    Quoting twice changes nothing, since Lightning starts DDP ranks with the rewritten arguments.
    """
    key, equals, value = word.partition("=")
    is_path = key.lstrip("+") in PATH_KEYS
    if not equals or not (is_path or key in group_options()):
        return word
    sweep = {"-m", "--multirun"} & {*sys.argv}
    values = value.split(",") if sweep and value[:1] not in ("'", '"') else [value]
    return f"{key}={','.join(map(_path if is_path else _option, values))}"


def with_files(words: Sequence[str]) -> list[str]:
    """Plain words, and all words after `--`, as one override `files=[…]`.

    A word with a `=` is a file where one of that name exists.
    """
    before, after = list(words), []
    if "--" in before:
        place = before.index("--")
        before, after = before[:place], before[place + 1 :]
    options, plain = list(before), get_args_parser().parse_intermixed_args(before).overrides
    for word in plain:
        options.remove(word)
    overrides = [w for w in plain if _OVERRIDE.match(w) and not os.path.exists(w)]
    files = [w for w in plain if w not in overrides] + after
    if files:
        if given := [word for word in overrides if word.startswith("files=")]:
            raise ValueError(f"{given[0]} and plain words: give all files in one of the two ways")
        overrides.append(f"files=[{','.join(map(in_quotes, files))}]")
    return [*overrides, *options]  # Hydra wants its overrides side by side


def in_quotes(text: str) -> str:
    """A string of Hydra's grammar, which unescapes backslashes only before a quote."""
    doubled = re.sub(r'\\+(?="|\Z)', lambda run: run[0] * 2, text)
    return '"' + doubled.replace('"', '\\"') + '"'


def _path(value: str) -> str:
    plain = _AS_IT_IS.fullmatch(value) and not _NUMBER_OR_BOOL.fullmatch(value)
    return value if plain else in_quotes(value)


def _option(value: str) -> str:
    """A number or null is no option; in quotes it is refused as any other word that is none."""
    return in_quotes(value) if value == "null" or _NUMBER_OR_BOOL.fullmatch(value) else value
