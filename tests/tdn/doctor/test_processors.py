from __future__ import annotations

import pytest

from tdn.doctor import processors
from tdn.doctor.processors import Processors, judge

PLENTY = Processors(
    cores=8, online=16, quota=None, memory=64 << 30, free_memory=32 << 30, omp_threads=""
)


def test_cores_and_memory_in_plenty():
    cores, memory = judge(PLENTY)
    assert (cores.level, memory.level) == ("ok", "ok")
    assert "8 of 16" in cores.found


@pytest.mark.parametrize(
    ("quota", "omp_threads", "level"),
    [(2.0, "", "warn"), (2.0, "2", "ok"), (8.0, "", "ok"), (0.5, "", "warn"), (12.0, "", "ok")],
)
def test_less_time_than_cores(quota, omp_threads, level):
    finding = next(judge(PLENTY._replace(quota=quota, omp_threads=omp_threads)))
    assert finding.level == level
    assert (f"OMP_NUM_THREADS={max(1, int(quota))}" in finding.remedy) == (level == "warn")


def test_little_memory():
    finding = list(judge(PLENTY._replace(free_memory=1 << 30)))[1]
    assert finding.level == "warn"
    assert "--mem" in finding.remedy


def test_what_this_machine_has():
    found = processors.look()
    assert 1 <= found.usable <= found.cores <= found.online
    assert 0 < found.free_memory < found.memory
