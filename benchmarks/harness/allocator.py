"""How glibc keeps memory if nobody asks it to keep more: a peer's turn as its users have it."""

from __future__ import annotations

import ctypes

from tdn.allocator import set_thresholds

MMAP_THRESHOLD = 32 << 20
"""Where glibc's own, which grows with the blocks that are freed, ends (DEFAULT_MMAP_THRESHOLD_MAX),
and it keeps twice as much at the end of the heap; once a threshold is set, it grows no more."""


def hand_back_freed_memory() -> None:
    """Undo ``tdn.allocator.keep_freed_memory``, and give back what it has kept.

    What lies free within the heap stays there once it is touched again: a peer with whom one that
    keeps memory takes turns has fewer pages to clear than it would have alone, never more.
    """
    set_thresholds(trim=2 * MMAP_THRESHOLD, mmap=MMAP_THRESHOLD)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
