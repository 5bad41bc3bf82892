"""Files on storage that hiccups: errors that pass are waited for, and contents have a checksum."""

from __future__ import annotations

import errno
import time
import zlib
from collections.abc import Callable
from typing import TypeVar

from tdn.pipelines.files.subprocess_workers import still_working

_T = TypeVar("_T")

_PASSING = frozenset(
    {
        errno.ESTALE,  # the file was replaced on the server, or the server came back
        errno.EIO,
        errno.ETIMEDOUT,
        errno.EAGAIN,
        errno.EBUSY,
        errno.ENOBUFS,
        errno.ECONNRESET,
        errno.ECONNREFUSED,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EREMOTEIO,
    }
)
_WAITS = (0.1, 0.5, 2.0)
"""Seconds before each further attempt."""


def patiently(action: Callable[[], _T]) -> _T:
    """Do what reads a file; where the storage fails in a way that may pass, again a little later.

    Raises:
        OSError: It failed for another reason, or still fails.
    """
    for wait in _WAITS:
        try:
            return action()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            time.sleep(wait)
    return action()


def checksum(path: str) -> int:
    """CRC-32 of a file's bytes.

    Raises:
        OSError: The file cannot be read.
    """
    value = 0
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - called for every clip
        while part := file.read(1 << 20):
            value = zlib.crc32(part, value)
            still_working()
    return value
