"""How callbacks print durations and speeds."""

from functools import partial

from deeper.models.geometry import relative_work


def time_left(elapsed: float, initial_scale: float, start: float, now: float) -> float:
    """Seconds to the end of a training that took `elapsed` of them from one fraction of it to another."""
    work = partial(relative_work, initial_scale)
    return elapsed * work(now, 1) / work(start, now)


def duration(seconds: float) -> str:
    """In hours, minutes or seconds."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 90:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s"


def speed(images: float, seconds: float) -> str:
    return f"{images / max(seconds, 1e-9):,.0f} images/s"
