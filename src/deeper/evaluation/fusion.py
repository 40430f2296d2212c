"""From the probabilities of each view to those of a picture."""

from typing import Literal

import torch
from torch import Tensor

Fusion = Literal["mean", "max"]


def fused(views: Tensor, fusion: Fusion) -> Tensor:
    """Probabilities [V, K] → [K]. §5 averages; the maximum over crops, scaled to sum 1, is its "inferior"
    alternative.
    """
    if fusion == "mean":
        return views.mean(0)
    best = views.amax(0)
    return best / best.sum()


class Fused:
    """Views come in chunks of any size, a picture's views one after the other; pictures come out.

    All stays on the device but for a transfer every `hold` pictures.
    """

    def __init__(self, views: int, fusion: Fusion, hold: int = 1024) -> None:
        self.views, self.fusion, self.hold = views, fusion, hold
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._done: list[tuple[Tensor, Tensor]] = []
        self._out: list[tuple[Tensor, Tensor]] = []

    def add(self, probabilities: Tensor, index: Tensor) -> None:
        """float32 [B, K]; int64 [B], -1 for padding."""
        if self.views > 1:
            self._waiting.append((probabilities, index))
            if sum(len(rows) for rows, _ in self._waiting) < self.views:
                return
            rows, index = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
            whole = len(rows) // self.views * self.views
            self._waiting = [(rows[whole:], index[whole:])]
            # One by one: a sum over another shape may round otherwise.
            pictures = rows[:whole].view(-1, self.views, rows.shape[1])
            probabilities = torch.stack([fused(picture, self.fusion) for picture in pictures])
            index = index[: whole : self.views]
        self._done.append((probabilities, index))
        if sum(len(rows) for rows, _ in self._done) >= self.hold:
            self._transfer()

    def pictures(self) -> tuple[Tensor, Tensor]:
        """float32 [n, K] and the index int64 [n] of what is whole and no padding, on the CPU."""
        self._transfer()
        rows, index = (torch.cat(parts) for parts in zip(*self._out, strict=True))
        return rows[index >= 0], index[index >= 0]

    def _transfer(self) -> None:
        self._out += [(rows.cpu(), index.cpu()) for rows, index in self._done]
        self._done = []
