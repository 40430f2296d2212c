"""The one loop of all benchmarks: passes in turns, so that a machine that slows down slows all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import torch

Pass = Callable[[], Any]
"""Does the work once. It returns its own seconds as a float, or the time of the call counts."""

Times = Mapping[str, Sequence[float]]
"""Seconds of each contestant in each round."""


@dataclass(frozen=True)
class Figure:
    """A number with an aim, found among the times of a contest.

    `at_least`: how many times as fast `of` is as `against`. `at_most`: the seconds of `of`, or, with
    `against`, the milliseconds that a unit of its work takes longer. Of several the fastest counts.
    """

    name: str
    of: str | Sequence[str]
    against: str = ""
    at_least: float | None = None
    at_most: float | None = None

    def measured(self, times: Times, work: float) -> float:
        own = times[self.fastest(times)]
        if self.at_least is not None:
            return ratio(own, times[self.against]).median
        if not self.against:
            return median(own)
        return median(1000 * (a - b) / work for a, b in zip(own, times[self.against], strict=True))

    def found_in(self, times: Times) -> bool:
        """Not where a contestant is missing, such as ONNX Runtime that is not installed."""
        return bool(self._measured(times)) and (not self.against or self.against in times)

    def fastest(self, times: Times) -> str:
        return min(self._measured(times), key=lambda name: median(times[name]))

    def _measured(self, times: Times) -> list[str]:
        names = [self.of] if isinstance(self.of, str) else self.of
        return [name for name in names if name in times]

    def met(self, measured: float) -> bool:
        return measured >= self.at_least if self.at_least else measured <= (self.at_most or 0.0)


@dataclass
class Contest:
    """Contestants of the same `work`, whose `unit` is work a second, or ms for a piece of it.

    The table has a column of ratios for each of the `baselines`. `threads` are torch's; None leaves them.
    """

    title: str
    passes: dict[str, Pass]
    unit: str
    work: float = 1
    baselines: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    threads: int | None = None
    about: dict[str, Any] = field(default_factory=dict)
    """Facts for the result file."""

    def value(self, seconds: float) -> float:
        """In `unit`, of a pass of so many seconds."""
        is_duration = self.unit.startswith("ms")
        return 1000 * seconds / self.work if is_duration else self.work / seconds


@dataclass
class Counts:
    """What is counted and not timed: a table as it is, beside contests."""

    title: str
    rows: list[dict[str, Any]]


def seconds(contest: Contest, rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round.

    A round more comes first and does not count: it starts workers, compiles and fills caches.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(contest.threads or before)
    taken: dict[str, list[float]] = {name: [] for name in contest.passes}
    try:
        for number in range(rounds + 1):
            for name, run in contest.passes.items():
                start = perf_counter()
                own = run()
                _synchronize()
                if number:
                    taken[name].append(own if isinstance(own, float) else perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return taken


def _synchronize() -> None:
    """Wait for a GPU, which works on while Python has the next line."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


class Ratio(NamedTuple):
    """How many times as fast as another contestant, over the ratios of each round."""

    median: float
    least: float
    largest: float


def ratio(times: Sequence[float], baseline: Sequence[float]) -> Ratio:
    ratios = [theirs / ours for ours, theirs in zip(times, baseline, strict=True)]
    return Ratio(median(ratios), min(ratios), max(ratios))
