"""How far a stream of pictures is, and what is to be said meanwhile, on standard error."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text


class Ticker:
    """A bar on a terminal, unless `quiet`; `total` is None where nobody knows it."""

    def __init__(self, total: int | None, quiet: bool) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(
            *columns, console=console, disable=quiet or not console.is_terminal, transient=True
        )
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> "Ticker":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advance(self, count: int = 1) -> None:
        self._progress.advance(self._task, count)

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(Text(text), soft_wrap=True)
