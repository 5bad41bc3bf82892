"""Measuring devices: a matrix product and copies, as long as it takes to tell a slow one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

_GPU_SIDE, _CPU_SIDE = 8192, 384
"""Rows of the matrices: enough to fill a GPU, and ten milliseconds of a core."""
_GPU_COPY, _CPU_COPY = 1 << 30, 16 << 20
_HOST_COPY = 128 << 20
_GPU_SECONDS = 1.0
"""That a GPU computes without a pause: time for its clocks to settle, and to be looked at."""
_CPU_SECONDS, _TRIES = 0.15, 5
"""For which, and how often at least, something is tried on the CPU."""


class DeviceSpeed(NamedTuple):
    """What a device reaches."""

    name: str
    flops_per_second: float
    """Of a matrix product, in bf16 on a GPU, else in fp32 with the threads of one process."""
    copy_bytes_per_second: float
    """Of its memory, read and written."""
    host_bytes_per_second: float
    """From the host's memory to a GPU's; 0 of a CPU."""


def measure(device: torch.device, meanwhile: Callable[[], object]) -> DeviceSpeed:
    """Measure a device.

    Args:
        device: The one of this process.
        meanwhile: Called while a GPU computes.
    """
    if device.type == "cuda":
        return _measure_gpu(device, meanwhile)
    left = torch.ones(_CPU_SIDE, _CPU_SIDE)
    memory = torch.ones(_CPU_COPY, dtype=torch.uint8)
    target = torch.empty_like(memory)
    product = _best(lambda: torch.mm(left, left))
    copied = _best(lambda: target.copy_(memory))
    return DeviceSpeed("CPU", 2 * _CPU_SIDE**3 / product, 2 * _CPU_COPY / copied, 0.0)


def _best(action: Callable[[], object]) -> float:
    """Seconds of the fastest of some tries: others may use the same cores."""
    times: list[float] = []
    until = time.perf_counter() + _CPU_SECONDS
    while len(times) < _TRIES or time.perf_counter() < until:
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)


def _measure_gpu(device: torch.device, meanwhile: Callable[[], object]) -> DeviceSpeed:
    # Random: multiplying ones takes less power, and shows no fault of its supply.
    left = torch.randn(_GPU_SIDE, _GPU_SIDE, dtype=torch.bfloat16, device=device)
    out = torch.empty_like(left)
    one = _on_gpu(lambda: torch.mm(left, left, out=out), 3)
    count = max(3, int(_GPU_SECONDS / one))
    product = _on_gpu(lambda: torch.mm(left, left, out=out), count, meanwhile)
    memory = torch.empty(_GPU_COPY, dtype=torch.uint8, device=device)
    target = torch.empty_like(memory)
    copied = _on_gpu(lambda: target.copy_(memory), 10)
    host = torch.empty(_HOST_COPY, dtype=torch.uint8, pin_memory=True)
    part = target[:_HOST_COPY]
    moved = _on_gpu(lambda: part.copy_(host, non_blocking=True), 5)
    return DeviceSpeed(
        torch.cuda.get_device_name(device),
        2 * _GPU_SIDE**3 / product,
        2 * _GPU_COPY / copied,
        _HOST_COPY / moved,
    )


def _on_gpu(
    action: Callable[[], object], count: int, meanwhile: Callable[[], object] = lambda: None
) -> float:
    """Seconds of one of several actions, by the GPU's own clock, after one that warms up."""
    action()
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(count):
        action()
    end.record()
    meanwhile()
    end.synchronize()
    return begin.elapsed_time(end) / 1000 / count
