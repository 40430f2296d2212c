"""Times of functions that are called in turns, so that a machine that slows down slows all of them."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

Key = TypeVar("Key")


def seconds(contestants: Mapping[Key, Callable[[], Any]], rounds: int) -> dict[Key, list[float]]:
    """Seconds of each contestant in each round: what it returns if that is a float, else its whole time.

    A round more comes first and does not count: it starts workers and fills caches.
    """
    taken: dict[Key, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            start = perf_counter()
            own = run()
            if number:
                taken[name].append(own if isinstance(own, float) else perf_counter() - start)
    return taken


def speedup(times: Sequence[float], baseline: Sequence[float]) -> float:
    """How many times as fast as the baseline: the median of the ratios in each round."""
    return median(theirs / ours for ours, theirs in zip(times, baseline, strict=True))
