"""What a process may use of its machine, within control groups: of containers, Slurm, systemd."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MOUNT = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
"""Version 1 writes a number about this large, in bytes, where there is no limit."""


def usable_cores() -> int:
    """Cores' worth of time that a process started here has, at least 1."""
    cores = len(os.sched_getaffinity(0))
    return whole_cores(cores, cpu_quota(Path("/proc/self/cgroup").read_text()))


def whole_cores(cores: int, quota: float | None) -> int:
    """How many threads find time on some cores, given a quota of time; at least 1."""
    return max(1, min(cores, int(quota or cores)))


def cpu_quota(membership: str, mount: Path = MOUNT) -> float | None:
    """CPU cores' worth of time that a process may use; None where that is not limited.

    Args:
        membership: Text of ``/proc/self/cgroup``.
        mount: Where the control groups are mounted.
    """
    quotas = []
    for group in _groups(membership, "cpu", mount):
        words = _read(group / "cpu.max").split()
        if not words:
            words = [_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")]
        if len(words) == 2 and all(word.isdigit() for word in words):  # else "max", or -1
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def memory_left(membership: str, mount: Path = MOUNT) -> int | None:
    """Bytes of memory that a process's groups may still take; None where that is not limited."""
    left = []
    for group in _groups(membership, "memory", mount):
        limit = _read(group / "memory.max") or _read(group / "memory.limit_in_bytes")
        used = _read(group / "memory.current") or _read(group / "memory.usage_in_bytes")
        if limit.isdigit() and used.isdigit() and int(limit) < _UNLIMITED:
            left.append(max(0, int(limit) - int(used) + _file_cache(group)))
    return min(left, default=None)


def _file_cache(group: Path) -> int:
    """Bytes of a group that are copies of files, which make way when they must."""
    lines = (line.split() for line in _read(group / "memory.stat").splitlines())
    found = {words[0]: int(words[1]) for words in lines if len(words) == 2}
    return found.get("inactive_file", 0) + found.get("active_file", 0)


def _groups(membership: str, controller: str, mount: Path) -> Iterator[Path]:
    """Folders of a process's group and of all that it is in, in both versions."""
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = mount / controller if controllers else mount
        parts = PurePosixPath(path).parts[1:]
        for depth in range(len(parts), -1, -1):
            yield base.joinpath(*parts[:depth])


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
