"""Time and memory of contestants, measured side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.contestants import Contestant

COPIED = 1 << 30
"""Bytes of the tensor whose copy says what the memory can do."""
COPIES = 25
MEMORY = 8 << 30
"""Bytes that the forward passes of a batch of backward passes may hold."""


@dataclass(frozen=True)
class Effort:
    """How much is measured; the default takes a GPU about 50 ms a contestant and mode."""

    rounds: int = 15
    """In which all contestants take turns with a batch; quantiles are over these."""
    batch_ms: float = 2.0
    """Time that the runs of a batch fill, if one of them does not take longer."""
    warm_up: int = 3
    """Runs before, which compile and choose among a library's algorithms."""


def stopwatch(device: str, work: Callable[[], object]) -> float:
    """Milliseconds that work takes on a device that was idle, from its start to its end.

    On a GPU by events around it, so that neither the synchronisation before nor the one behind
    counts; launches that keep the GPU waiting do.
    """
    if device == "cpu":
        start = time.perf_counter()
        work()
        return 1e3 * (time.perf_counter() - start)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    work()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last)


def copy_bandwidth(device: str, size: int = COPIED) -> float:
    """GB/s of a tensor's copy, bytes read and bytes written: the median of many."""
    source = torch.randint(0, 256, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = [stopwatch(device, lambda: target.copy_(source)) for _ in range(COPIES)]
    return 2 * size / statistics.median(times[COPIES // 5 :]) / 1e6


def batch(contestant: Contestant, mode: str, runs: int) -> float:
    """Milliseconds of an iteration, from a batch of runs."""
    taken = stopwatch(contestant.device, contestant.start(mode, runs))
    return taken / (runs * contestant.iterations)


def peak_bytes(contestant: Contestant, mode: str) -> int | None:
    """Most memory held in a run of a mode, beyond inputs and parameters; None on a CPU.

    Of a backward pass that includes what the forward pass before keeps for it.
    """
    if contestant.device == "cpu" or contestant.peer.graph:
        return None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    contestant.start(mode, 1)()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def runs_of_a_batch(contestant: Contestant, mode: str, peak: int | None, effort: Effort) -> int:
    """Runs that fill the time of a batch, and memory at most; warms up."""
    for _ in range(effort.warm_up):
        taken = batch(contestant, mode, 1) * contestant.iterations
    runs = max(1, min(100, round(effort.batch_ms / max(taken, 1e-3))))
    if mode == "backward" and peak:
        runs = max(1, min(runs, MEMORY // peak))
    return runs


def quantiles(times: list[float]) -> tuple[float, float, float]:
    """Median, 20 % and 80 % quantile."""
    if len(times) == 1:
        return times[0], times[0], times[0]
    low, *_, high = statistics.quantiles(times, n=5, method="inclusive")
    return statistics.median(times), low, high
