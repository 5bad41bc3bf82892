"""Measuring links: pairs of nodes exchange buffers, then all processes sum gradients.

Every process calls ``measure_pairs`` and ``measure_sums`` in the same order. How much is sent
depends on how long a little took, so that a slow link costs seconds and not minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from tdn.preflight.slow import rounds

Say = Callable[[int, str], object]
"""Told what this process begins, with a number that grows: where it stands."""

LITTLE, PROBE = 8, 1 << 18
"""Bytes that measure latency, and that tell how many more are worth sending."""
SUMS = (1 << 10, 1 << 20, 25 << 20, 97_680_184)
"""Bytes that are summed over all: what shows latency, DDP's first and other buckets, and the
gradients of TDN with ResNet-50 in fp32."""
_MOST = {"cpu": 32 << 20, "cuda": 256 << 20}
"""Bytes of a buffer."""
_SECONDS = 0.15
"""That measuring a pair's bandwidth should take."""
_LONGEST = 2.0
"""Seconds that a sum may take; larger ones are left out."""
_TRIES, _LATENCY_TRIES = 3, 40
_SUMS_BEGIN = 100
"""Where a process stands that has done with pairs."""


class Team(NamedTuple):
    """The processes of a run, and which of them this one is."""

    processes: tuple[int, ...]
    """Of each node."""
    node: int
    place: int
    """Number of this process on its node."""
    device: torch.device

    @property
    def rank(self) -> int:
        """Number of this process."""
        return self.first_rank(self.node) + self.place

    def first_rank(self, node: int) -> int:
        """Of a node's processes."""
        return sum(self.processes[:node])


class PairTime(NamedTuple):
    """What a process measured with its counterpart on another node."""

    nodes: tuple[int, int]
    latency: float
    """Seconds of an exchange of some bytes."""
    bytes_per_second: float
    """In each of both directions at the same time."""


class SumTime(NamedTuple):
    """A sum over processes."""

    scope: str
    """all, or node: those of each node by themselves."""
    processes: int
    bytes: int
    seconds: float

    @property
    def bus_bytes_per_second(self) -> float:
        """What each process sends and receives, by the ring that moves least: 2 (n-1)/n of it."""
        return 2 * (self.processes - 1) / self.processes * self.bytes / self.seconds


def measure_pairs(team: Team, names: Sequence[str], say: Say) -> Iterator[PairTime]:
    """Exchange buffers with processes of other nodes; some pairs of nodes at the same time.

    Args:
        team: All processes.
        names: Of the nodes.
        say: Told what this process begins.
    """
    for number, pairs in enumerate(rounds(len(team.processes)), 1):
        pair = next((pair for pair in pairs if team.node in pair), None)
        if pair is not None:
            other = pair[0] if team.node == pair[1] else pair[1]
            if team.place < team.processes[other]:
                say(2 * number, f"exchanging with {names[other]}")
                yield _measure_pair(pair, team.first_rank(other) + team.place, team.device)
        say(2 * number + 1, "waiting for other pairs of nodes")
        dist.barrier()


def _measure_pair(pair: tuple[int, int], peer: int, device: torch.device) -> PairTime:
    little = _buffers(LITTLE, device)
    exchange(*little, peer)  # connects
    times = sorted(exchange(*little, peer) for _ in range(_LATENCY_TRIES))
    probe = _buffers(PROBE, device)
    exchange(*probe, peer)
    seconds = _agreed(exchange(*probe, peer), peer, device)
    size = int(min(max(PROBE, PROBE * _SECONDS / _TRIES / seconds), _MOST[device.type]))
    large = _buffers(size, device)
    best = min(exchange(*large, peer) for _ in range(_TRIES if seconds < _SECONDS else 1))
    # What is sent may still be on its way: only the receiver knows when it has arrived.
    best = _agreed(best, peer, device)
    return PairTime(pair, times[len(times) // 4], size / best)  # the rest met other programs


def exchange(sent: Tensor, received: Tensor, peer: int) -> float:
    """Send a buffer to a process while it sends one; seconds until both have arrived."""
    began = _now(sent.device)
    both = [dist.P2POp(dist.isend, sent, peer), dist.P2POp(dist.irecv, received, peer)]
    for work in dist.batch_isend_irecv(both):
        work.wait()
    return _now(sent.device) - began


def _agreed(seconds: float, peer: int, device: torch.device) -> float:
    """The larger of what both processes of a pair have measured."""
    mine = torch.tensor([seconds], dtype=torch.float64, device=device)
    other = torch.empty_like(mine)
    exchange(mine, other, peer)
    return float(torch.maximum(mine, other))


def measure_sums(team: Team, say: Say, sizes: Sequence[int] = SUMS) -> Iterator[SumTime]:
    """Sum buffers over the processes of each node, and over all."""
    here, everyone = team.processes[team.node], sum(team.processes)
    if here > 1 and len(team.processes) > 1:
        say(_SUMS_BEGIN, "connecting the processes of its node")
        first = team.first_rank(team.node)
        ranks = list(range(first, first + here))
        group = dist.new_group(ranks, use_local_synchronization=True)
        yield from _sums("node", here, group, team, say, sizes)
    if everyone > 1:
        say(_SUMS_BEGIN + len(sizes) + 1, "waiting for other nodes")
        dist.barrier()
        yield from _sums("all", everyone, dist.group.WORLD, team, say, sizes)


def _sums(
    scope: str,
    processes: int,
    group: dist.ProcessGroup | None,
    team: Team,
    say: Say,
    sizes: Sequence[int],
) -> Iterator[SumTime]:
    where = "all processes" if scope == "all" else "those of its node"
    begin = _SUMS_BEGIN + (len(sizes) + 2 if scope == "all" else 1)
    per_byte = 0.0
    for number, size in enumerate(sizes):
        if per_byte * size > _LONGEST:
            return
        say(begin + number, f"summing {size} bytes over {where}")
        buffer = torch.zeros(size // 4, device=team.device)
        dist.all_reduce(buffer, group=group)  # connects, and warms up
        seconds = min(_sum(buffer, group) for _ in range(_TRIES))
        slowest = torch.tensor([seconds], dtype=torch.float64, device=team.device)
        dist.all_reduce(slowest, dist.ReduceOp.MAX, group=group)
        per_byte = float(slowest) / size if size >= PROBE else 0.0
        yield SumTime(scope, processes, size, float(slowest))


def _sum(buffer: Tensor, group: dist.ProcessGroup | None) -> float:
    began = _now(buffer.device)
    dist.all_reduce(buffer, group=group)
    return _now(buffer.device) - began


def _buffers(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    empty = torch.zeros(size, dtype=torch.uint8, device=device)
    return empty, torch.empty_like(empty)


def _now(device: torch.device) -> float:
    """The time, when all that the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
