"""How a process leaves a run that cannot go on, so that one line says why.

An error that all processes know of ends them in order, at the same step. One that only a single
process meets leaves the others in the middle of a collective, in which they fail or wait: it is put
on the board, and they leave with it instead of with what their communication then says.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time

import torch.distributed as dist

from tdn.errors import UserError
from tdn.training.processes.board import Alarm, Board
from tdn.training.processes.hosts import find_host, this_place

USER_ERROR, FAILURE, INTERRUPTED = 2, 1, 130
"""Exit statuses: a user's mistake, a defect or a lost process, a second Ctrl-C."""

LINGER = 1.0
"""Seconds by which the processes that say nothing end later than the one that tells."""
PATIENCE = 1.0
"""Seconds in which a process that ended has put on the board why."""
UNDISTURBED = 10.0
"""Seconds that are enough to tell it."""


class KnownError(UserError):
    """An error that every process knows of, raised on the one that tells the user."""


class KnownExit(SystemExit):
    """The same on the other processes, which say nothing."""


def leave(error: BaseException, rank: int, board: Board) -> BaseException:
    """What a process is to raise in place of an error that the others do not know of.

    The process is also made to end at once where Python would end: cleaning up its group would
    wait for the others.

    Args:
        error: What came up.
        rank: This process.
        board: Of the run.

    Returns:
        On the main process, or where that is out of reach on each host's first, a ``UserError`` or
        a ``SystemExit`` with the line; on others a silent ``SystemExit``, but for an unexpected
        error, which each shows with its traceback.
    """
    end_undisturbed()
    alarm = board.alarm(wait=PATIENCE if is_communication(error) else 0.0)
    if alarm is None:
        alarm = board.raise_alarm(_alarm_of(error, rank, board))
    atexit.register(_end_at_once, alarm.status)
    if rank == 0:
        time.sleep(LINGER)  # the board may end with this process
    if alarm.rank == rank and alarm.status == FAILURE and not is_communication(error):
        return error
    tells = rank == 0 or (this_place().speaks and not board.answers)
    if tells and alarm.status == USER_ERROR:
        return UserError(alarm.message)
    if tells and alarm.status == FAILURE:  # of a lost host the watchdog tells
        return SystemExit(f"tdn: {alarm.message}")
    return SystemExit(alarm.status)


def end_undisturbed() -> None:
    """Let nobody end this process for some seconds, until it has told why it ends.

    torchrun sends the others SIGTERM as soon as one process has ended. Who calls ``train`` from
    Python may go on after the error, and can be asked to end later.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    former, until = signal.getsignal(signal.SIGTERM), time.monotonic() + UNDISTURBED

    def ignore(*_: object) -> None:
        if time.monotonic() > until:
            signal.signal(signal.SIGTERM, former)
            signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, ignore)


def is_communication(error: BaseException) -> bool:
    """Whether an error says that another process is out of reach."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error)
    )


def _alarm_of(error: BaseException, rank: int, board: Board) -> Alarm:
    if isinstance(error, UserError):
        return Alarm(rank, USER_ERROR, str(error))
    if isinstance(error, KeyboardInterrupt):
        return Alarm(rank, INTERRUPTED, "interrupted")
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return Alarm(rank, error.code, "stopped")
    first_line = str(error).strip().partition("\n")[0]
    if is_communication(error):
        reason = first_line.partition(". ")[0]  # gloo goes on with a guess
        host = find_host(reason, board)
        place = f" on host {host}" if host is not None else ""
        message = (
            f"another process{place} ended without a word ({reason}); its own messages, or those "
            "of its machine, say why; start the same command again to go on"
        )
    else:
        message = f"process {rank} failed: {type(error).__name__}: {first_line}"
    return Alarm(rank, FAILURE, message)


def _end_at_once(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
