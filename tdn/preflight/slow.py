"""Which node or link is slow, by what pairs of nodes have measured.

Every node takes part in several pairs: its neighbours in a ring, and the nodes after these. A slow
node is slow in all its pairs, a slow link in one. Whatever the number of nodes, this takes no more
than six rounds of pairs that measure at the same time.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Pair = tuple[int, int]


class Culprits(NamedTuple):
    """What is slow."""

    nodes: tuple[int, ...]
    """Slow in all their pairs."""
    links: tuple[Pair, ...]
    """Slow pairs of nodes of which neither is: the way between them."""
    usual: float
    """What the others reach."""


def rounds(nodes: int) -> list[list[Pair]]:
    """Pairs that measure at the same time, round by round; each node is in one pair at most."""
    reach = (1, 2) if nodes > 4 else (1,)
    pairs = dict.fromkeys(
        (min(node, other), max(node, other))
        for step in reach
        for node in range(nodes)
        if (other := (node + step) % nodes) != node
    )
    found: list[list[Pair]] = []
    for pair in pairs:
        for together in found:
            if not any(set(pair) & set(other) for other in together):
                together.append(pair)
                break
        else:
            found.append([pair])
    return found


def usual(values: Sequence[float]) -> float:
    """What is reached where nothing is wrong: the median of the better half."""
    better = sorted(values, reverse=True)[: max(1, len(values) // 2)]
    return statistics.median(better)


def find_culprits(measured: Mapping[Pair, float], share: float) -> Culprits:
    """The slow nodes, and the slow links between others; of a single pair neither.

    Args:
        measured: Of each pair, the more the better, such as bytes per second.
        share: Of what is usual, below which a pair is slow.
    """
    normal = usual(list(measured.values()))
    slow = {pair for pair, value in measured.items() if value < share * normal}
    nodes = sorted({node for pair in measured for node in pair})
    pairs_of = {node: {pair for pair in measured if node in pair} for node in nodes}
    culprits = [node for node in nodes if pairs_of[node] <= slow]
    links = sorted(pair for pair in slow if not set(pair) & set(culprits))
    return Culprits(tuple(culprits), tuple(links), normal)
