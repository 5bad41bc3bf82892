"""Reading parts of tar shards: open files are kept, and a shard is read ahead as a whole.

Clips of a shard are read at their place, in any order. When a shard is opened, the kernel is asked
for all of it: storage sees one large sequential read, and the clips then come from memory.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache

_OPEN = 64
"""Shards kept open."""


class _Shard:
    """An open shard; closed when nobody refers to it any more."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        # Length 0 means to the end. A hint: file systems that know no such thing ignore it.
        os.posix_fadvise(self.number, 0, 0, os.POSIX_FADV_WILLNEED)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


_opening = threading.Lock()


@lru_cache(_OPEN)
def _shard(path: str, _device: int, _inode: int) -> _Shard:
    """A file by its identity, too: another one may have been put in its place."""
    return _Shard(path)


def read_part(path: str, offset: int, size: int) -> bytes:
    """Bytes of a file, from any thread.

    Raises:
        OSError: The file cannot be read, or is shorter.
    """
    status = os.stat(path)  # noqa: PTH116 - called for every picture
    try:
        with _opening:
            shard = _shard(path, status.st_dev, status.st_ino)
        return _read(shard, offset, size)
    except OSError:
        # It may have been replaced on its server: the next attempt opens it anew.
        with _opening:
            _shard.cache_clear()
        raise


def _read(shard: _Shard, offset: int, size: int) -> bytes:
    parts, end = [], offset + size
    while offset < end:
        part = os.pread(shard.number, end - offset, offset)
        if not part:
            raise OSError(f"ends before byte {end}")
        parts.append(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
