"""What a measurement takes of the machine: CPU time of all its processes, and GPU memory."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from tdn.machine import usable_cores

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_BUSY = (0, 1, 2, 5, 6, 7)
"""Columns of /proc/stat: user, nice, system, both kinds of interrupts, and stolen time."""


LEAST_FOREIGN, FOREIGN = 0.1, 0.05
"""Cores that others may keep busy, and the part of all usable ones."""


@dataclass(frozen=True)
class Usage:
    """Seconds, since some point in the past."""

    wall: float
    own: float
    """CPU time of this process and of all that it has started."""
    machine: float
    """CPU time of everything on the machine."""

    @staticmethod
    def now() -> Usage:
        """What has been used so far."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = time.process_time() + ended.ru_utime + ended.ru_stime
        own += sum(_cpu_time(process) for process in descendants())
        return Usage(time.perf_counter(), own, _machine_time())

    def since(self, earlier: Usage) -> Usage:
        """What was used between two points in time."""
        return Usage(
            self.wall - earlier.wall, self.own - earlier.own, self.machine - earlier.machine
        )

    @property
    def foreign(self) -> float:
        """Cores that others kept busy, on average, beyond those that are theirs alone."""
        theirs = (os.cpu_count() or 1) - usable_cores()
        return max(0.0, (self.machine - self.own) / self.wall - theirs)


def is_doubtful(foreign: float) -> bool:
    """Whether others kept so many cores busy that a time is to be doubted."""
    return foreign > max(LEAST_FOREIGN, FOREIGN * usable_cores())


def descendants(of: int | None = None) -> list[int]:
    """Processes that one has started, and those that they have; by default this one."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _fields(int(folder.name))):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found, queue = [], [os.getpid() if of is None else of]
    while queue:
        mine = children.get(queue.pop(), [])
        found += mine
        queue += mine
    return found


def age() -> float:
    """Seconds since this process began."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - _TICK * int(_fields(os.getpid())[19])


def _fields(process: int) -> list[str]:
    """/proc/PID/stat from the state on; nothing if the process has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # a name may hold spaces and brackets


def _cpu_time(process: int) -> float:
    """Of a process and of those that it has started and that have ended."""
    return _TICK * sum(int(field) for field in _fields(process)[11:15])


def _machine_time() -> float:
    columns = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    return _TICK * sum(int(columns[index]) for index in _BUSY)


def gpu_memory(device: str) -> int:
    """Bytes of the GPU's memory that are taken, by whomever; 0 for a CPU."""
    if device == "cpu":
        return 0
    free, total = torch.cuda.mem_get_info()
    return total - free
