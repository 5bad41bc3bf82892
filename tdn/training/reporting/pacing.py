"""When to print a line in a file that somebody may be watching."""

from __future__ import annotations

import math

FIRST = 5.0
"""Seconds from the start to the first line."""


class Pacing:
    """Lines come soon after the start, and then less and less often.

    Args:
        every: Seconds between lines, in the end; 0 for no lines.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._wait = min(FIRST, every)
        self._last = -math.inf

    def start(self, now: float) -> None:
        """The time runs from here on, in seconds."""
        self._last = now

    def is_due(self, now: float) -> bool:
        """Whether it is time for a line."""
        return self._every > 0 and now - self._last >= self._wait

    def printed(self, now: float) -> None:
        """A line was printed, due or not."""
        if self.is_due(now):
            self._wait = min(2 * self._wait, self._every)
        self._last = now
