"""Errors of users: all problems at once, each in one line. Imports no torch."""

import difflib
from collections.abc import Iterable
from itertools import chain
from traceback import walk_tb
from typing import Any

from omegaconf.errors import InterpolationResolutionError


class ConfigError(ValueError):
    """Holds every problem found; its text is the list."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(dict.fromkeys(problems))
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{count} in the configuration:\n{lines}")


def require_none(*problems: Iterable[str]) -> None:
    """Raise `ConfigError` with all problems, if there are any."""
    if found := [*chain(*problems)]:
        raise ConfigError(found)


def suggestion(word: str, known: Iterable[Any]) -> str:
    """`; did you mean 'word'?`, or all known words where none is near."""
    names = [str(name) for name in known]
    near = difflib.get_close_matches(word, names, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; choose from {', '.join(names)}"


def user_error(error: BaseException) -> str | None:
    """The text of a `ValueError` that our code raised for a user's mistake; None for a crash."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InterpolationResolutionError):  # around what a resolver raised
            cause = cause.__context__
            continue
        if isinstance(cause, ConfigError) or (
            isinstance(cause, ValueError) and raised_in("deeper", cause)
        ):
            return str(cause)
        cause = cause.__cause__
    return None


def raised_in(package: str, error: BaseException) -> bool:
    """Whether a module of this package raised the error, and not what the package called."""
    modules = [f.f_globals.get("__name__", "") for f, _ in walk_tb(error.__traceback__)]
    return bool(modules) and modules[-1].startswith(f"{package}.")
