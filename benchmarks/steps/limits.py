"""Time: what there is of it for a measurement, and an end to what takes too long."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Budget:
    """Time that is shared out: what one leaves over goes to those who come later.

    Args:
        seconds: In all, from now on.
    """

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, below 0 when it is over."""
        return self.end - time.monotonic()

    def share(self, part: float) -> Budget:
        """A part of what is left, 0 to 1."""
        return Budget(part * self.left)


AGAIN = 2.0
"""Seconds after which what goes on all the same is told again: it may have caught the first."""


class TooLongError(Exception):
    """Its time is up. No OSError, which whoever looks for a file would take for that."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End what takes longer, such as a compilation, by TooLongError; in the main thread only."""

    def end(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise TooLongError(f"took more than {seconds:.0f} s")

    former = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
