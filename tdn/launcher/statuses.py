"""What the exit statuses of a node's processes come to.

Negative ones are signals, as ``subprocess`` has them. The others are those of ``tdn train``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Sequence

MISTAKE, INTERRUPTED, STOPPED = 2, 130, os.EX_TEMPFAIL
"""Of a process: a user's mistake, a second Ctrl-C, stopped on request."""

FINAL = frozenset({MISTAKE, INTERRUPTED, STOPPED})
"""After these a new start would come to the same, or was not asked for."""

TOLD = FINAL | {os.EX_NOHOST, os.EX_UNAVAILABLE}
"""With these a process, or the main one for it, has said why: a lost host and a stall, too."""

REQUESTS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2})


def shell_status(status: int) -> int:
    """A status as a shell gives it: 137 for a process that was killed."""
    return 128 - status if status < 0 else status


def status_after_request(statuses: Collection[int | None]) -> int:
    """What a node ends with that was asked to stop.

    Args:
        statuses: Of its processes; None for one that would not end.

    Returns:
        0 where all had just finished; that of a failure, if there is one; else 75, also where the
        request came before there was anything to save.
    """
    if statuses and all(status == 0 for status in statuses):
        return 0
    for status in statuses:
        if status is None:
            return 128 + signal.SIGKILL
        if status not in (0, STOPPED) and -status not in REQUESTS:
            return shell_status(status)
    return STOPPED


def status_of_failure(statuses: Sequence[int]) -> int:
    """What a node comes to whose processes failed.

    Args:
        statuses: Of those that failed, in the order of their ends. Who was told to end
            because of the others does not count, unless all were.
    """
    own = [status for status in statuses if status != -signal.SIGTERM]
    return (own or list(statuses))[0]
