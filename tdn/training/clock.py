"""How long steps take, and which part of that the network spent waiting for data.

The clock runs from before a batch is asked for until the device has finished the step. On a GPU,
Python runs ahead of the device, so the time it spends in the loader says nothing: there, waiting is
the time between the end of one step and the arrival of the next batch in the GPU's own order of
work, taken with CUDA events. It is nothing as long as the data come fast enough.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class StepClock:
    """Times the steps since the last reading."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self.restart()

    def restart(self) -> None:
        """Begin anew, after something that is not a training step."""
        self._begin = time.perf_counter()
        self._waited = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wrap the line that takes a batch from the loader."""
        if not self._on_gpu:
            begin = time.perf_counter()
            yield
            self._waited += time.perf_counter() - begin
            return
        idle, ready = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        idle.record()
        yield
        ready.record()
        self._events.append((idle, ready))

    def read(self) -> tuple[float, float]:
        """Seconds since the last reading, and the part of it (0 to 1) spent waiting for data.

        Call this when the device has finished. Begins anew.
        """
        seconds = time.perf_counter() - self._begin
        waited = self._waited
        if self._events:
            self._events[-1][1].synchronize()
            waited = sum(idle.elapsed_time(ready) for idle, ready in self._events) / 1000
        self.restart()
        return seconds, min(waited / seconds, 1.0)
