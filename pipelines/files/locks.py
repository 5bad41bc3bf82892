"""Locks between processes that may write the same file."""

from __future__ import annotations

import fcntl
from typing import IO, Any


def lock(file: IO[Any], *, wait: bool) -> bool:
    """Lock an open file until it is closed.

    Args:
        file: Opened for writing.
        wait: Whether to wait for another process that holds the lock.

    Returns:
        False where the file system has no locks.

    Raises:
        BlockingIOError: Another process holds the lock, and ``wait`` is false.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:  # some parallel file systems are mounted without
        return False
    return True
