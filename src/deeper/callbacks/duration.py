"""How callbacks print durations and speeds."""


def duration(seconds: float) -> str:
    """In hours, minutes or seconds."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 90:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s"


def speed(images: float, seconds: float) -> str:
    return f"{images / max(seconds, 1e-9):,.0f} images/s"
