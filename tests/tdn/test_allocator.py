"""Memory that a process on a CPU frees is its own the next time: it costs no page faults."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from tdn import allocator

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is set")

FAULTS = """
import contextlib, resource, torch
from tdn.config import TrainingConfig
from tdn.training.processes.distributed import open_processes

def use():
    for _ in range(4):
        torch.ones(64 << 20, dtype=torch.uint8)  # 16,384 pages

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    use()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

{around}:
    print(min(faults() for _ in range(6)))  # the heap grows until it has the room
"""
TRAINING = "with open_processes(TrainingConfig(device='cpu'))"


def faults(around: str, **environment: str) -> int:
    """Page faults of four times 64 MiB that are taken, written and freed, once that is settled."""
    program = [sys.executable, "-c", FAULTS.format(around=around)]
    others = {k: v for k, v in os.environ.items() if k not in allocator._CHOICES}
    environment = {**others, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_process_that_trains_on_a_cpu_takes_its_memory_once():
    assert faults(TRAINING) < 1000
    assert faults("with contextlib.nullcontext()") > 4 * 10_000


def test_who_has_chosen_keeps_the_choice():
    assert faults(TRAINING, MALLOC_TRIM_THRESHOLD_="131072") > 4 * 10_000


def test_another_c_library_is_left_alone(monkeypatch):
    for name in allocator._CHOICES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    allocator.keep_freed_memory()
