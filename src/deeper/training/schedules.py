"""Schedules: pure functions of progress that give a factor, of the peak learning rate for one."""

from collections.abc import Callable
from math import cos, pi
from typing import NamedTuple


class Progress(NamedTuple):
    fraction: float
    """Of the whole training, in 0..1."""
    epoch: float
    """Epochs done, with the fraction of the current one."""
    epochs: float
    """Epochs in all."""


START = Progress(0.0, 0.0, 1)


def constant(progress: Progress) -> float:
    return 1.0


def paper(progress: Progress, factor: float = 0.96, every_epochs: float = 8) -> float:
    """§6: "decreasing the learning rate by 4% every 8 epochs"."""
    if every_epochs <= 0 or factor <= 0:
        raise ValueError(f"factor={factor}, every_epochs={every_epochs}: both must be above 0")
    return float(factor ** (progress.epoch // every_epochs))


def poly(progress: Progress, power: float = 0.5) -> float:
    """(1 − fraction)^power: BVLC's quick solver, with power 0.5."""
    return float((1 - min(progress.fraction, 1.0)) ** power)


def linear(progress: Progress, final: float = 0.0, until: float = 1.0) -> float:
    """From 1 down to `final` at the fraction `until` of the training, and `final` from there on."""
    if not 0 < until <= 1:
        raise ValueError(f"until={until}: a fraction of the training, in 0..1 (0 excluded)")
    return 1 + (final - 1) * min(progress.fraction / until, 1.0)


def cosine(progress: Progress, warmup_epochs: float = 0, final: float = 0.0) -> float:
    """Linear rise over `warmup_epochs` (at most half of the training), then half a cosine to `final`."""
    if warmup_epochs < 0:
        raise ValueError(f"warmup_epochs={warmup_epochs}: must be at least 0")
    warmup = min(warmup_epochs / progress.epochs, 0.5)
    return _rise_and_fall(progress.fraction, warmup, final)


def onecycle(progress: Progress, rise: float = 0.25, final: float = 0.0) -> float:
    """Linear rise over the fraction `rise` of the training, then half a cosine to `final`."""
    if not 0 <= rise <= 1:
        raise ValueError(f"rise={rise}: a fraction of the training, in 0..1")
    return _rise_and_fall(progress.fraction, rise, final)


def scaled(progress: Progress, schedule: Callable[[Progress], float], factor: float) -> float:
    """`factor` times another schedule, for values that are not learning rates."""
    return factor * schedule(progress)


def _rise_and_fall(fraction: float, rise: float, final: float) -> float:
    if fraction < rise:
        return max(fraction / rise, 1e-3)  # so that the first step moves the weights
    fall = min((fraction - rise) / max(1 - rise, 1e-9), 1.0)
    return final + (1 - final) * (1 + cos(pi * fall)) / 2
