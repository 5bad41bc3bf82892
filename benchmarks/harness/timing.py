"""Clocks of both devices, and what a number of times says."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch

MEDIAN = 1.2533
"""Standard error of a median over that of a mean."""
COPIED = 1 << 30
"""Bytes of the tensor whose copy says what the memory can do."""
COPIES = 25
LEAD = 1 << 28
"""Bytes of a copy that keeps the GPU busy while the host goes ahead."""


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


def quantiles(times: list[float]) -> tuple[float, float, float]:
    """Median, 20 % and 80 % quantile."""
    if len(times) == 1:
        return times[0], times[0], times[0]
    low, *_, high = statistics.quantiles(times, n=5, method="inclusive")
    return statistics.median(times), low, high
