"""What processes tell each other outside of the order of steps: alarms, and where each one stands.

The processes of a run meet at a store, which lives on the first host: in its ``torchrun``, or,
where that is not to be shared, in the main process. It can be asked while a collective hangs.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import TypeVar

import torch.distributed as dist

_PATIENCE = 5.0
"""Seconds for an answer of the store: nothing here may hang."""
_POLL = 0.1

_Answer = TypeVar("_Answer")


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


class SilenceError(RuntimeError):
    """The store does not answer."""


class Board:
    """Notices that all processes of a run can put up and read.

    Args:
        store: Of their group; None for a process that is alone, which reads what it wrote itself.
        host: The name of the one that keeps the store.
    """

    def __init__(self, store: dist.Store | None, host: str | None = None) -> None:
        # A connection of its own: another thread may be waiting for an answer on the first.
        self._store = dist.HashStore() if store is None else store.clone()  # type: ignore[attr-defined]
        self._alarms: dict[str, Alarm] = {}
        self.host = host
        self._late: futures.Future[object] | None = None
        self.heard_at = time.monotonic()
        """``time.monotonic()`` of the last answer."""
        self.answers = True
        """Whether the last question was answered."""

    def raise_alarm(self, alarm: Alarm, kind: str = FAILURES) -> Alarm:
        """Tell the others, unless somebody was faster; gives the alarm of this kind that holds."""
        text = json.dumps(dataclasses.asdict(alarm))
        try:
            held = self._ask(lambda: self._store.compare_set(f"alarm {kind}", "", text))
        except RuntimeError:  # who keeps the store has ended
            return self._alarms.setdefault(kind, alarm)
        return self._remember(kind, held)

    def alarm(self, kind: str = FAILURES, wait: float = 0.0) -> Alarm | None:
        """The alarm of a kind, if somebody has raised it, or does so within some seconds."""
        text = self.read(f"alarm {kind}", wait)
        return self._alarms.get(kind) if text is None else self._remember(kind, text.encode())

    def write(self, key: str, text: str) -> None:
        """Put up a notice."""
        try:
            self._ask(lambda: self._store.set(key, text))
        except RuntimeError:
            return  # nobody is there to read it

    def read(self, key: str, wait: float = 0.0) -> str | None:
        """A notice, if it is there, or comes within some seconds."""
        deadline = time.monotonic() + wait
        try:
            while not self._ask(lambda: self._store.check([key])):
                if time.monotonic() >= deadline:
                    return None
                time.sleep(_POLL)
            return bytes(self._ask(lambda: self._store.get(key))).decode()
        except RuntimeError:
            return None

    def read_all(self, keys: Sequence[str]) -> list[str] | None:
        """Notices that have all been put up; None if the store does not answer."""
        try:
            texts = self._ask(lambda: self._store.multi_get(list(keys)))
        except RuntimeError:
            return None
        return [bytes(text).decode() for text in texts]

    def close(self) -> None:
        """Ask nothing any more, before Python ends.

        A thread that comes back from the store while Python ends would end the process with it, by
        a signal. What the first host answers late comes, or fails, as its main process ends.
        """
        if self._late is not None:
            futures.wait([self._late], 2 * _PATIENCE)

    def _remember(self, kind: str, text: bytes) -> Alarm:
        """Keep an alarm: it holds also when the store has ended."""
        return self._alarms.setdefault(kind, Alarm(**json.loads(text)))

    def _ask(self, question: Callable[[], _Answer]) -> _Answer:
        """The store's answer.

        A connection whose other end is gone without a word neither returns nor keeps to a timeout
        of the store's; so another thread asks, and as long as its question is open no other is put.

        Raises:
            RuntimeError: The store is gone, or does not answer.
        """
        self.answers = False
        if self._late is not None and not self._late.done():
            raise SilenceError
        answer: futures.Future[_Answer] = futures.Future()
        threading.Thread(target=_answer, args=(answer, question), daemon=True).start()
        try:
            value = answer.result(_PATIENCE)
        except futures.TimeoutError:
            self._late = answer  # type: ignore[assignment]
            raise SilenceError from None
        self.answers, self.heard_at = True, time.monotonic()
        return value


def _answer(answer: futures.Future[_Answer], question: Callable[[], _Answer]) -> None:
    try:
        answer.set_result(question())
    except Exception as error:
        answer.set_exception(error)
