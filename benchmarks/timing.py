"""Time and memory of contestants, measured side by side."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from benchmarks.operations.contestants import Contestant

COPIED = 1 << 30
"""Bytes of the tensor whose copy says what the memory can do."""
COPIES = 25
LEAD = 1 << 28
"""Bytes of a copy that keeps the GPU busy while the host goes ahead."""
MOST_LEAD = 5.0
"""Milliseconds; the host launches some 500 kernels in that time."""
MEMORY = 8 << 30
"""Bytes that the forward passes of a batch of backward passes may hold."""


@dataclass(frozen=True)
class Effort:
    """How much is measured; the default takes a GPU about 0.1 s a contestant and mode."""

    rounds: int = 11
    """In which all contestants take turns with a batch; quantiles are over these."""
    batch_ms: float = 2.0
    """Time that the runs of a batch fill, if one of them does not take longer."""
    warm_up: int = 3
    """Runs before, which compile and choose among a library's algorithms."""


class Clock:
    """Takes times on a device, and knows what its memory can do.

    Args:
        device: "cpu" or "cuda".
        copied: bytes of the tensor that is copied.
    """

    def __init__(self, device: str, copied: int = COPIED) -> None:
        self.device = device
        self._source = torch.randint(0, 256, (copied,), dtype=torch.uint8, device=device)
        self._target = torch.empty_like(self._source)
        copies = [self.time(lambda: self._target.copy_(self._source)) for _ in range(COPIES)]
        self.copy = 2 * copied / statistics.median(copies[COPIES // 5 :]) / 1e6
        """GB/s of a copy, bytes read and bytes written: the median of many."""

    def time(self, work: Callable[[], object], lead: float = 0.0) -> float:
        """Milliseconds of work, from its start to its end.

        On a GPU by events around it, so that no synchronisation counts. If the GPU is idle
        before, launches that keep it waiting do count; not so with a lead.

        Args:
            work: what to time.
            lead: milliseconds of copies that the GPU has to do first, in which the host launches
                the work, as it does in a training step that the GPU is the limit of.
        """
        if self.device == "cpu":
            start = time.perf_counter()
            work()
            return 1e3 * (time.perf_counter() - start)
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        for _ in range(math.ceil(lead * self.copy * 1e6 / (2 * LEAD)) if lead else 0):
            self._target[:LEAD].copy_(self._source[:LEAD])
        first.record()
        work()
        last.record()
        torch.cuda.synchronize()
        return first.elapsed_time(last)


@dataclass
class Times:
    """Milliseconds of an iteration in every round."""

    called: list[float] = field(default_factory=list)
    """From an idle GPU, so that launches count."""
    gpu: list[float] = field(default_factory=list)
    """With the launches ahead; nothing on a CPU."""


def take_times(clock: Clock, contestant: Contestant, mode: str, runs: int, times: Times) -> None:
    """Time two batches of runs, one without and one with a lead."""
    iterations = runs * contestant.iterations
    called = clock.time(contestant.start(mode, runs))
    times.called.append(called / iterations)
    if clock.device == "cuda":
        gpu = clock.time(contestant.start(mode, runs), lead=min(1.5 * called, MOST_LEAD))
        times.gpu.append(gpu / iterations)


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


def runs_of_a_batch(
    clock: Clock, contestant: Contestant, mode: str, peak: int | None, effort: Effort
) -> int:
    """Runs that fill the time of a batch, and memory at most; warms up."""
    for _ in range(effort.warm_up):
        taken = clock.time(contestant.start(mode, 1))
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
