"""What the links between the processes do, by all-reduces as training makes them."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from benchmarks.harness.common import synchronise
from benchmarks.processes.projection import BUCKET
from tdn.training.processes.distributed import Processes

SMALL = 8
"""Bytes of a message whose time is all latency."""
REPEATS = 9
"""Of an all-reduce; the median counts."""


@dataclass(frozen=True)
class Links:
    """Bytes/s and seconds; None where there are no such links."""

    node_processes: int
    node_bandwidth: float | None
    """Of a process to its neighbours in the node."""
    node_latency: float | None
    link_bandwidth: float | None
    """Of a node to the others, all of its processes at once."""
    link_latency: float | None


def measure_links(place: Processes) -> Links:
    """All-reduces within the nodes, then between them; all processes must call it."""
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = place.world_size // local
    within = [list(range(first, first + local)) for first in range(0, place.world_size, local)]
    between = [list(range(index, place.world_size, local)) for index in range(local)]
    node_bandwidth, node_latency = _measure(place, within, BUCKET, 2 * (local - 1))
    # Each process carries its share between the nodes.
    share, latency = _measure(place, between, BUCKET // local, 2 * math.ceil(math.log2(nodes)))
    link_bandwidth = share and share * local
    return Links(local, node_bandwidth, node_latency, link_bandwidth, latency)


def _measure(
    place: Processes, groups: Sequence[list[int]], size: int, hops: int
) -> tuple[float | None, float | None]:
    """Bandwidth of a process and latency of a message, all groups at once."""
    own, _ = dist.new_subgroups_by_enumeration(list(groups))
    members = len(groups[0])
    if members == 1:
        return None, None
    small, large = (max(place.gather(_seconds(place, own, bytes_))) for bytes_ in (SMALL, size))
    return 2 * (members - 1) / members * size / max(large - small, 1e-9), small / hops


def _seconds(place: Processes, group: dist.ProcessGroup, size: int) -> float:
    """Of an all-reduce of so many bytes of gradients."""
    values = torch.zeros(size // 4, device=place.device)
    times = []
    for _ in range(REPEATS + 1):
        synchronise(place.device.type)
        began = time.perf_counter()
        dist.all_reduce(values, group=group)
        synchronise(place.device.type)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])
