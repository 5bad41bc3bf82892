"""How a GPU spends a training step: what it is given to do, and how long it is idle."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness.rows import Row

LAUNCH = re.compile(r"cu(da)?(Launch|GraphLaunch)")
"""Begins the names of the calls with which a program gives a GPU kernels or graphs of them."""
COPY = re.compile(r"Mem(cpy|set)")
TO_GPU = "Memcpy HtoD"
STEPS = 3
"""That are recorded; one more keeps the GPU busy while they begin."""


class TimeRange(Protocol):
    """Microseconds."""

    start: float
    end: float


class Event(Protocol):
    """What the profiler tells of one."""

    name: str
    device_type: DeviceType
    is_user_annotation: bool
    time_range: TimeRange


def gpu_values(step: Callable[[], object]) -> Row:
    """Columns of a step that ran before."""
    step()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as record:
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize()
    return of_events(record.events(), STEPS)


def of_events(events: Iterable[Event], steps: int) -> Row:
    """What a step gives the GPU to do, and percent of the time that it works.

    Ranges that programs mark, such as an optimizer's step, are no work. A graph is one launch of
    many kernels; copies and fills are launches of nobody's and work all the same.

    Args:
        events: Of the profiler.
        steps: That were recorded.
    """
    events = [event for event in events if not event.is_user_annotation]
    work = [event for event in events if event.device_type == DeviceType.CUDA]
    calls = [event for event in events if event.device_type == DeviceType.CPU]
    copies = [event for event in work if COPY.match(event.name)]
    spans = [(event.time_range.start, event.time_range.end) for event in work]
    to_gpu = [
        event.time_range.end - event.time_range.start
        for event in copies
        if event.name.startswith(TO_GPU)
    ]
    row: Row = {
        "launches": round(sum(bool(LAUNCH.match(event.name)) for event in calls) / steps, 1),
        "kernels": round((len(work) - len(copies)) / steps, 1),
        "copies": round(len(copies) / steps, 1),
        "copy_ms": round(sum(to_gpu) / 1e3 / steps, 4),
    }
    if spans:
        begin, end = min(start for start, _ in spans), max(stop for _, stop in spans)
        row["gpu_busy_percent"] = round(100 * covered(spans) / (end - begin), 1)
    return row


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of what the spans cover together."""
    total, until = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, until))
        until = max(until, stop)
    return total
