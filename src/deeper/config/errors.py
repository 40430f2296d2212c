"""How a mistake is said: every problem at once, in our own words. Light, for launchers and the shell."""

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf


class ConfigError(ValueError):
    """Carries every problem found; its text is the list."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{count} in the configuration:\n{lines}")


def refuse_multirun_with_ddp(config: Any) -> None:
    """Lightning's launcher repeats the command line for each rank, `-m` and all."""
    strategy = str(OmegaConf.select(config, "trainer.strategy"))
    if "ddp" in strategy:
        raise ConfigError(
            [
                f"trainer.strategy={strategy}: with -m each rank of a DDP trainer would start the "
                f"whole sweep again; sweep with trainer=cpu or trainer=gpu, or start the jobs one "
                f"by one"
            ]
        )


def own_words(error: BaseException) -> str | None:
    """The text of a `ValueError` that our code raised for a user's mistake; None for a crash."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigError) or (
            isinstance(cause, ValueError) and raised_in("deeper", cause)
        ):
            return str(cause)
        cause = cause.__cause__
    return None


def raised_in(package: str, error: BaseException) -> bool:
    """Whether it is code of this package that raised it, and not what that called."""
    frame = error.__traceback__
    if frame is None:
        return False
    while frame.tb_next is not None:
        frame = frame.tb_next
    return str(frame.tb_frame.f_globals.get("__name__", "")).startswith(f"{package}.")
