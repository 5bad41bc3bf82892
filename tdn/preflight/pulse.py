"""Signs of life: how the first node knows that another is gone, before its patience ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tdn.preflight.roll_call import Roll
from tdn.training.processes.board import Board

_EVERY = 0.5
_LAST = 5.0
"""Seconds for the last sign."""
SILENCE = 15.0
"""Seconds without a sign after which a node is given up: a busy one gives thirty."""


@contextmanager
def beating(roll: Roll) -> Iterator[None]:
    """Give signs of life of this node, whatever it does meanwhile."""
    over = threading.Event()

    def beat() -> None:
        board = Board(roll.store)  # connects, and so waits for a first node that is stopped
        count = 0
        while not over.wait(_EVERY):
            count += 1
            board.write(f"alive {roll.node}", str(count))
        board.close()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_LAST)


class Pulses:
    """The signs that the first node has of the others."""

    def __init__(self, roll: Roll) -> None:
        self._board = roll.board
        now = time.monotonic()
        self._seen: dict[int, tuple[str | None, float]] = dict.fromkeys(
            range(1, roll.nodes), (None, now)
        )

    def silent(self, seconds: float) -> set[int]:
        """The nodes that gave no new sign for so long."""
        now = time.monotonic()
        for node, (former, _) in self._seen.items():
            sign = self._board.read(f"alive {node}")
            if sign != former:
                self._seen[node] = (sign, now)
        return {node for node, (_, since) in self._seen.items() if now - since > seconds}
