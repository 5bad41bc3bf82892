"""CPU cores and memory that a process started here may really use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tdn.doctor.findings import Finding, ok, warn
from tdn.machine import cpu_quota, memory_left, whole_cores

GB = 1e9
_LITTLE_MEMORY = 4 * GB
"""Less than torch, DALI and a small network take together with room to spare."""


class Processors(NamedTuple):
    """CPU and memory."""

    cores: int
    """That processes may run on."""
    online: int
    """That the machine has."""
    quota: float | None
    """Cores' worth of time that the control groups give; None if all."""
    memory: int
    """Bytes that the machine has."""
    free_memory: int
    """Bytes that a process may still take."""
    omp_threads: str
    """OMP_NUM_THREADS."""

    @property
    def usable(self) -> int:
        """Cores' worth of time, at least 1."""
        return whole_cores(self.cores, self.quota)


def look() -> Processors:
    """What this process has."""
    membership = Path("/proc/self/cgroup").read_text()
    meminfo = dict(re.findall(r"(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text()))
    available = int(meminfo["MemAvailable"]) * 1024
    left = memory_left(membership)
    return Processors(
        cores=len(os.sched_getaffinity(0)),
        online=os.cpu_count() or 1,
        quota=cpu_quota(membership),
        memory=int(meminfo["MemTotal"]) * 1024,
        free_memory=available if left is None else min(available, left),
        omp_threads=os.environ.get("OMP_NUM_THREADS", ""),
    )


def check() -> Iterator[Finding]:
    """Look at cores and memory."""
    yield from judge(look())


def judge(processors: Processors) -> Iterator[Finding]:
    """What to say of cores and memory."""
    cores, quota, usable = processors.cores, processors.quota, processors.usable
    words = f"{cores} of {processors.online} to run on"
    if quota is not None and quota < cores and not processors.omp_threads:
        yield warn(
            "cores",
            f"{words}, but time for {quota:g} only: threads are started for {cores} and then wait",
            f"export OMP_NUM_THREADS={usable}, or give the container or job as many cores as time",
        )
    else:
        yield ok("cores", words + (f", time for {quota:g}" if quota is not None else ""))
    free = f"{processors.free_memory / GB:.1f} of {processors.memory / GB:.1f} GB free"
    if processors.free_memory < _LITTLE_MEMORY:
        yield warn(
            "memory",
            free,
            "end other programs, or give the container or job more memory "
            "(docker run --memory, sbatch --mem)",
        )
    else:
        yield ok("memory", free)
