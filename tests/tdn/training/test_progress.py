from __future__ import annotations

import resource

import numpy as np
import pytest
import torch

from tdn.training import clock
from tdn.training.processes.distributed import Processes
from tdn.training.progress import Progress, memory_in_use

CPU = torch.device("cpu")


class Three(Processes):
    """One of three processes; the others wait longer, and need more and less memory."""

    def gather(self, value):
        waited, memory = value
        return [value, (waited + 0.5, memory + 10**9), (0.0, 0)]

    def sum(self, tensor):
        return tensor.mul_(3)


def test_what_is_told_is_of_all_processes(monkeypatch):
    now = 100.0
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now)
    progress = Progress(Three(0, 3, CPU), global_batch=24, steps=100)
    progress.restart_clock(10)
    for _ in range(2):
        with progress.clock.waiting():
            now += 1.0
        now += 3.0
        progress.tally.add(torch.tensor(2.0), torch.eye(8), torch.arange(8))
    told = progress.read(12)
    memory = told.pop("memory")
    assert told == {
        "loss": 2.0,
        "top1": 100.0,
        "clips": 48,
        "clips_per_second": 6.0,
        "clips_per_second_each": 2.0,
        "data_wait": 75.0,
        "eta": 88 * 4.0,
    }
    assert memory == pytest.approx(1 + memory_in_use(CPU) / 1e9, abs=0.1)
    now += 1.0
    assert progress.read(13)["clips_per_second"] == 24.0


def test_the_memory_of_a_process_is_its_most(monkeypatch):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    filled = np.ones(peak // 16)
    del filled
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert memory_in_use(CPU) == pytest.approx(peak, 0.05)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 7)
    assert memory_in_use(torch.device("cuda")) == 7
