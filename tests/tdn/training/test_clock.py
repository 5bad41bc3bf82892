from __future__ import annotations

import time

import pytest
import torch

from tdn.training.clock import StepClock


def test_time_and_the_part_of_it_spent_waiting(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    clock = StepClock(torch.device("cpu"))
    for _ in range(2):
        with clock.waiting():
            now += 1.0
        now += 3.0
    assert clock.read() == pytest.approx((8.0, 0.25))
    now += 4.0
    assert clock.read() == pytest.approx((4.0, 0.0))
    now += 50.0
    clock.restart()
    with clock.waiting():
        now += 2.0
    assert clock.read() == pytest.approx((2.0, 1.0))


class Event:
    """Stands in for a CUDA event: the device's own time when it is recorded."""

    device_time = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = Event.device_time

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, later: Event) -> float:
        return 1000 * (later.at - self.at)


def test_on_a_gpu_waiting_is_what_the_device_waits(monkeypatch):
    """Python spends all its time in the loader, the device only part of it idle."""
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    clock = StepClock(torch.device("cuda"))
    for idle in (0.0, 0.5):
        with clock.waiting():
            now += 2.0
            Event.device_time += idle
        Event.device_time += 2.0 - idle
    assert clock.read() == pytest.approx((4.0, 0.125))
