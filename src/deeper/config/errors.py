"""Errors of users: all problems at once, each in one line. Imports no torch."""

import difflib
import re
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from omegaconf import OmegaConf


class ConfigError(ValueError):
    """Holds every problem found; its text is the list."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(dict.fromkeys(problems))
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{count} in the configuration:\n{lines}")


def closest(word: str, known: Iterable[Any]) -> str:
    """`; did you mean 'word'?`, or nothing where no known word is near."""
    found = difflib.get_close_matches(word, [str(name) for name in known], 1)
    return f"; did you mean {found[0]!r}?" if found else ""


def refuse_multirun_with_ddp(config: Any) -> None:
    """Raise `ConfigError`: Lightning's launcher repeats the command line, `-m` and all, on each rank."""
    strategy = str(OmegaConf.select(config, "trainer.strategy"))
    if "ddp" in strategy:
        raise ConfigError(
            [
                f"trainer.strategy={strategy}: with -m each rank of a DDP trainer would start the "
                f"whole sweep again; sweep with trainer=cpu or trainer=gpu, or start the jobs one "
                f"by one"
            ]
        )


def user_error(error: BaseException) -> str | None:
    """The text of a `ValueError` that our code raised for a user's mistake; None for a crash."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigError) or (
            isinstance(cause, ValueError) and raised_in("deeper", cause)
        ):
            # OmegaConf wraps what one of our resolvers raised.
            wrapped = re.match(
                r"\w+ raised while resolving interpolation: (.*)\n +full_key", str(cause)
            )
            return wrapped[1] if wrapped else str(cause)
        cause = cause.__cause__
    return None


def raised_in(package: str, error: BaseException) -> bool:
    """Whether a module of this package raised the error, and not what the package called."""
    frame: TracebackType | None = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and str(frame.tb_frame.f_globals.get("__name__", "")).startswith(
        f"{package}."
    )
