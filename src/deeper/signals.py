"""Signals that ask a run to stop: SIGTERM, SIGUSR1, SIGHUP and Ctrl-C.

A handler only remembers the signal, or raises: a collective or a save within one could meet another
in progress. During a training the signal is remembered, and `Checkpoint` acts between two steps.
"""

import signal
import sys
from types import FrameType

from deeper.processes import SIGNALS


class Stopped(BaseException):
    """Ends a run that a signal stopped; what was saved is said by the run.

    It comes at any moment, so that no `except Exception` may take it for a failure of its own work.
    """

    status = "interrupted"

    def __init__(self, number: int, step: int | None = None) -> None:
        super().__init__(number, step)
        self.number, self.step = number, step

    @property
    def exit_status(self) -> int:
        """As a shell reports it: 130 after Ctrl-C, else 143."""
        return 128 + (self.number if self.number == signal.SIGINT else signal.SIGTERM)

    def __str__(self) -> str:
        where = "" if self.step is None else f" after step {self.step}, which is saved"
        return f"stopped by {signal.Signals(self.number).name}{where}"


class _State:
    received = 0
    """The number of the first signal; 0 for none."""
    deferred = False


def install() -> None:
    """Handle signals from now on; where something, such as Lightning, has replaced the handlers, again."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup, or a shell's background job
            signal.signal(number, _handle)


def restore() -> None:
    """Back to what Python does, with nothing received."""
    for number in SIGNALS:
        if signal.getsignal(number) is _handle:
            is_interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)
    _State.received, _State.deferred = 0, False


def defer(deferred: bool) -> None:
    """Whether a signal waits for somebody who asks `received()`, in place of raising `Stopped`."""
    _State.deferred = deferred


def received() -> int:
    """The number of the signal that came first; 0 for none."""
    return _State.received


def _handle(number: int, frame: FrameType | None) -> None:
    if _State.received:
        if number == signal.SIGINT == _State.received:
            raise KeyboardInterrupt  # a second Ctrl-C leaves at once
        return
    _State.received = number
    if not _State.deferred:
        raise Stopped(number)
    if number == signal.SIGINT:
        print(
            "\nfinishing the step; Ctrl-C again leaves without saving", file=sys.stderr, flush=True
        )
