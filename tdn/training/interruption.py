"""Being asked to stop: a signal is noticed between two steps, by all processes at the same one.

Schedulers warn before they take a machine away (SIGTERM from Kubernetes and torchrun, SIGUSR2 as
the Slurm script asks for; not SIGUSR1, which NCCL catches), and people press Ctrl-C. The run then
writes a checkpoint, leaves a marker and ends with status 75. A second Ctrl-C ends it at once, and
so does another signal some seconds after the first, or a time limit.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from tdn.training.processes.distributed import Processes
from tdn.training.processes.leaving import (
    PATIENCE,
    KnownError,
    KnownExit,
    end_undisturbed,
    is_communication,
)
from tdn.training.saving.run_folder import RunFolder

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)

STOPPED = os.EX_TEMPFAIL
"""Exit status of a run that was asked to stop: the same command goes on with it."""

REPEATED = 5.0
"""Seconds after which a further signal is another one: Slurm and torchrun both pass one on, so that
a process may get it twice."""


class StopRequest:
    """A request to stop. A context: signals are caught inside.

    Args:
        processes: Those of the run.
        time_limit: Seconds from the request to the end of patience, ``training.stop_timeout``.
    """

    def __init__(self, processes: Processes, time_limit: float) -> None:
        self._processes = processes
        self._time_limit = time_limit
        self._asked_at: float | None = None
        self._repeated = False
        self._deferred = False
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # only there Python allows it
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as in a script's background
                    self._former[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        if error is not None and not isinstance(error, (KnownError, KnownExit)):
            self._processes.about_to_end()

    @property
    def asked(self) -> bool:
        """Whether this process was asked to stop; the others may not know yet."""
        return self._asked_at is not None

    @property
    def impatience(self) -> str | None:
        """Why the process must end now, if it must."""
        if self._repeated:
            return "asked to stop twice"
        if self._asked_at is not None and time.monotonic() - self._asked_at > self._time_limit:
            return f"asked to stop {self._time_limit:g} s ago"
        return None

    def defer(self) -> None:
        """From here on a request waits for somebody to look; before, it ends the process."""
        self._deferred = True

    def ask(self) -> None:
        """Ask this process to stop."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - Python's shape
        if self._asked_at is not None:
            self._repeated = time.monotonic() - self._asked_at > REPEATED
            return
        self.ask()
        if signal.SIGINT in self._former:
            signal.signal(signal.SIGINT, self._former[signal.SIGINT])
        if not self._deferred:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(STOPPED)


@contextmanager
def marking_early_stop(folder: RunFolder, processes: Processes) -> Iterator[None]:
    """Leave the marker where a signal ends the block, before there is anything to save.

    A signal to another process ends the main one's communication, or comes to it from torchrun.
    """
    try:
        yield
    except BaseException as error:
        if processes.is_main and _is_request(error, processes):
            folder.mark_interrupted()
            print("stopped on request before the first step", flush=True)
        raise


def _is_request(error: BaseException, processes: Processes) -> bool:
    """Whether a process ends because it, or the one that it misses, was asked to stop."""
    if isinstance(error, SystemExit):
        return error.code == STOPPED
    if not is_communication(error):
        return False
    end_undisturbed()  # the other one's end is what torchrun sends SIGTERM for
    alarm = processes.board.alarm(wait=PATIENCE)
    return alarm is not None and alarm.status == STOPPED
