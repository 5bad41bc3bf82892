"""What the system keeps of files in memory."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

_libc = ctypes.CDLL(None, use_errno=True)


def forget(paths: Iterable[Path]) -> None:
    """Let the system drop files from its cache, so that the next reader goes to the disk."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)  # what is not written yet would stay
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def read(paths: Iterable[Path]) -> None:
    """Have the system keep files."""
    for path in paths:
        path.read_bytes()


def cached_percent(paths: Sequence[Path]) -> float:
    """Pages of the files that lie in memory, percent of all of them."""
    pages = [_pages(path) for path in paths if path.stat().st_size]
    return 100 * sum(int(page.sum()) for page in pages) / sum(len(page) for page in pages)


def _pages(path: Path) -> np.ndarray:
    """Whether each page of a file lies in memory."""
    size = path.stat().st_size
    found = np.zeros(-(-size // mmap.PAGESIZE), np.uint8)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = np.frombuffer(mapped, np.uint8)  # to know where it lies; nothing is read
        address, vector = (ctypes.c_void_p(each.ctypes.data) for each in (view, found))
        failed = _libc.mincore(address, ctypes.c_size_t(size), vector)
        del view
    if failed:
        raise OSError(ctypes.get_errno(), "mincore", str(path))
    return found & 1
