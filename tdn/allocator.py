"""How the C library keeps the memory of a process that trains on a CPU."""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's ``mallopt``: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD."""
_LARGE = 1 << 30
_CHOICES = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"


def keep_freed_memory() -> None:
    """Have blocks of memory that are freed reused, rather than given back to the system.

    A training step frees all of its activations and gradients and asks for them again in the next
    one. Of large blocks glibc returns the pages each time, and the system clears each of them
    before it is used again. The process keeps the most memory that it ever needed. Nothing changes
    where the environment says how memory is kept (``MALLOC_TRIM_THRESHOLD_``,
    ``MALLOC_MMAP_THRESHOLD_``, ``GLIBC_TUNABLES``), nor in a C library without ``mallopt``.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not any(name in os.environ for name in _CHOICES):
        mallopt(_TRIM_THRESHOLD, _LARGE)
        mallopt(_MMAP_THRESHOLD, _LARGE)
