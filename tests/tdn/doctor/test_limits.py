from __future__ import annotations

import resource

import pytest

from tdn.doctor import limits
from tdn.doctor.limits import Limits, judge

PLENTY = Limits(
    files=65536,
    most_files=1048576,
    locked=resource.RLIM_INFINITY,
    infiniband=True,
    shared=8 << 30,
    gpu=True,
)


def judged(**changes):
    return {finding.name: finding for finding in judge(PLENTY._replace(**changes))}


def test_plenty():
    assert {finding.level for finding in judged().values()} == {"ok"}
    assert list(judged()) == ["open files", "locked memory", "shared memory"]


def test_few_files_are_raised_by_hand_where_that_is_allowed():
    finding = judged(files=1024)["open files"]
    assert finding.level == "warn"
    assert finding.remedy == "ulimit -n 65536"
    assert judged(files=1024, most_files=8192)["open files"].remedy == "ulimit -n 8192"
    assert "limits.conf" in judged(files=1024, most_files=1024)["open files"].remedy


@pytest.mark.parametrize(("infiniband", "level"), [(True, "warn"), (False, "ok")])
def test_little_locked_memory_matters_with_infiniband(infiniband, level):
    finding = judged(locked=65536, infiniband=infiniband)["locked memory"]
    assert finding.level == level
    assert ("ulimit -l unlimited" in finding.remedy) == infiniband


@pytest.mark.parametrize("shared", [64 << 20, 0, None])
@pytest.mark.parametrize(("gpu", "level"), [(True, "warn"), (False, "ok")])
def test_tiny_shared_memory_matters_between_gpus(shared, gpu, level):
    finding = judged(shared=shared, gpu=gpu)["shared memory"]
    assert finding.level == level
    assert ("--shm-size" in finding.remedy) == gpu


def test_the_limits_of_this_process():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    seen = limits.look()
    assert (seen.files, seen.locked) == (before[0], resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])
    assert seen.shared is None or seen.shared >= 0
