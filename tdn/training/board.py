"""What processes tell each other outside of the order of steps: alarms, and where each one stands.

The processes of a run meet at the store of torch's rendezvous, which ``torchrun`` keeps in its own
process: it is there when one of them has ended, and can be asked while a collective hangs.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist

_PATIENCE = timedelta(seconds=5)
"""For an answer of the store: nothing here may hang."""
_POLL = 0.1


@dataclass(frozen=True)
class Alarm:
    """Why the run cannot go on, told to all processes by the one that noticed."""

    rank: int
    status: int
    """Exit status of the run."""
    message: str
    """One line."""


FAILURES = "failure"
"""What ends the run is told once, apart from whatever did not."""


class Board:
    """Notices that all processes of a run can put up and read.

    Args:
        store: Of their group; None for a process that is alone, which reads what it wrote itself.
    """

    def __init__(self, store: dist.Store | None) -> None:
        # A connection of its own: another thread may be waiting for an answer on the first.
        self._store = dist.HashStore() if store is None else store.clone()  # type: ignore[attr-defined]
        self._store.set_timeout(_PATIENCE)

    def raise_alarm(self, alarm: Alarm, kind: str = FAILURES) -> Alarm:
        """Tell the others, unless somebody was faster; gives the alarm of this kind that holds."""
        text = json.dumps(dataclasses.asdict(alarm))
        try:
            return _alarm(self._store.compare_set(f"alarm {kind}", "", text))
        except RuntimeError:  # torchrun, which keeps the store, has ended
            return alarm

    def alarm(self, kind: str = FAILURES, wait: float = 0.0) -> Alarm | None:
        """The alarm of a kind, if somebody has raised it, or does so within some seconds."""
        text = self.read(f"alarm {kind}", wait)
        return None if text is None else _alarm(text.encode())

    def write(self, key: str, text: str) -> None:
        """Put up a notice."""
        try:
            self._store.set(key, text)
        except RuntimeError:
            return  # nobody is there to read it

    def read(self, key: str, wait: float = 0.0) -> str | None:
        """A notice, if it is there, or comes within some seconds."""
        deadline = time.monotonic() + wait
        try:
            while not self._store.check([key]):
                if time.monotonic() >= deadline:
                    return None
                time.sleep(_POLL)
            return bytes(self._store.get(key)).decode()
        except RuntimeError:
            return None


def _alarm(text: bytes) -> Alarm:
    return Alarm(**json.loads(text))
