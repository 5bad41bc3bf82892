"""How a GPU spends a training step: how many kernels it is given, and how long it is idle."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.rows import Row


def gpu_values(step: Callable[[], object]) -> Row:
    """Columns of a step that ran before: launches, and percent of the time that the GPU works."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as record:
        step()
        torch.cuda.synchronize()
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in record.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
    ]
    begin, end = min(start for start, _ in spans), max(stop for _, stop in spans)
    return {
        "launches": len(spans),
        "gpu_busy_percent": round(100 * covered(spans) / (end - begin), 1),
    }


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of what the spans cover together."""
    total, until = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, until))
        until = max(until, stop)
    return total
