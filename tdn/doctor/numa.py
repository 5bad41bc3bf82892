"""Which CPU cores are near which GPU, on machines with several sockets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tdn.doctor.findings import Finding, ok, warn

_DEVICES = Path("/sys/bus/pci/devices")
_NODES = Path("/sys/devices/system/node")


class Places(NamedTuple):
    """Where cores and GPUs are."""

    nodes: int
    """Groups of cores with memory of their own."""
    near: tuple[tuple[int, frozenset[int]], ...]
    """Of each GPU whose place is known: its number, and the cores near it."""
    cores: frozenset[int]
    """That processes started here may run on."""


def look(buses: Sequence[str], devices: Path = _DEVICES, nodes: Path = _NODES) -> Places:
    """Where the GPUs are that stand at these places of the PCI bus."""
    near = []
    for number, bus in enumerate(buses):
        listed = devices / bus / "local_cpulist"
        if listed.is_file():
            near.append((number, read_cores(listed.read_text())))
    count = sum(1 for _ in nodes.glob("node[0-9]*"))
    return Places(max(1, count), tuple(near), frozenset(os.sched_getaffinity(0)))


def read_cores(text: str) -> frozenset[int]:
    """Core numbers from a list such as "0-3,8"."""
    cores: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            cores.update(range(int(first), int(last or first) + 1))
    return frozenset(cores)


def judge(places: Places) -> Iterator[Finding]:
    """What to say of the places; nothing for machines where all cores are alike."""
    if places.nodes == 1 or not places.near:
        return
    far = [number for number, cores in places.near if cores and not cores & places.cores]
    if far:
        numbers = ", ".join(map(str, far))
        yield warn(
            "numa",
            f"gpu {numbers}: the cores to run on are all at another socket",
            "start with cores of every socket (sbatch --gpu-bind closest, or numactl --all)",
        )
    else:
        yield ok("numa", f"{places.nodes} nodes, cores near every GPU to run on")
