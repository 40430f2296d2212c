"""Draws the curves of a run when its training ends."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_only

from deeper.files import whole
from deeper.runs import metrics
from deeper.runs.lease import LeaseLost


class Curves(L.Callback):
    """Writes curves.png to `run` from its metrics.jsonl; what goes wrong is printed, and ends no run."""

    def __init__(self, run: str) -> None:
        self.path = Path(run) / "curves.png"

    def on_fit_end(self, *_: Any) -> None:
        self._draw()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """A run that diverged or was stopped has curves too."""
        if not isinstance(exception, LeaseLost):
            self._draw()

    @rank_zero_only
    def _draw(self) -> None:
        try:
            from deeper.figures import curves  # matplotlib takes a second to import

            if not (rows := metrics.rows(self.path.parent)):
                return
            panels = curves.of_run(rows)
            with whole(self.path) as temporary:
                curves.draw(panels).savefig(temporary, format="png")
        except Exception as error:
            print(f"{self.path}: not drawn ({type(error).__name__} {error})", flush=True)
