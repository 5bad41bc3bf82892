from __future__ import annotations

import os

import pytest

from tdn import machine
from tdn.machine import cpu_quota, memory_left, usable_cores, whole_cores


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("cores", "quota", "usable"), [(8, None, 8), (8, 3.5, 3), (2, 4.0, 2), (4, 0.5, 1)]
)
def test_cores_without_time_are_not_counted(cores, quota, usable):
    assert whole_cores(cores, quota) == usable


def test_usable_cores_are_those_of_this_process(monkeypatch):
    cores = len(os.sched_getaffinity(0))
    monkeypatch.setattr(machine, "cpu_quota", lambda _: None)
    assert usable_cores() == cores
    monkeypatch.setattr(machine, "cpu_quota", lambda _: 0.5)
    assert usable_cores() == 1


def test_quota_of_version_2_and_of_the_groups_above(tmp_path):
    membership = "0::/slice/job/step\n"
    write(tmp_path / "slice/job/step", cpu__max="max 100000")
    assert cpu_quota(membership, tmp_path) is None
    write(tmp_path / "slice/job", cpu__max="400000 100000")
    assert cpu_quota(membership, tmp_path) == 4
    write(tmp_path / "slice", cpu__max="150000 100000")
    assert cpu_quota(membership, tmp_path) == 1.5


def test_quota_of_version_1(tmp_path):
    membership = "4:memory:/other\n3:cpu,cpuacct:/docker/abc\n0::/\n"
    group = tmp_path / "cpu" / "docker" / "abc"
    write(group, cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert cpu_quota(membership, tmp_path) is None
    write(group, cpu__cfs_quota_us="250000")
    assert cpu_quota(membership, tmp_path) == 2.5


def test_quota_in_a_container_that_sees_itself_as_the_root(tmp_path):
    write(tmp_path, cpu__max="200000 100000")
    assert cpu_quota("0::/../../outside\n", tmp_path) == 2


def test_memory_left_is_that_of_the_tightest_group(tmp_path):
    membership = "0::/slice/job\n"
    write(tmp_path / "slice/job", memory__max="max", memory__current="70")
    assert memory_left(membership, tmp_path) is None
    write(tmp_path / "slice", memory__max="100", memory__current="80")
    assert memory_left(membership, tmp_path) == 20
    write(tmp_path / "slice/job", memory__max="75")
    assert memory_left(membership, tmp_path) == 5


def test_copies_of_files_make_way(tmp_path):
    stat = "anon 10\ninactive_file 30\nactive_file 5"
    write(tmp_path, memory__max="100", memory__current="90", memory__stat=stat)
    assert memory_left("0::/\n", tmp_path) == 45


def test_version_1_writes_a_huge_number_for_no_limit(tmp_path):
    files = {"memory__limit_in_bytes": str(2**63 - 4096), "memory__usage_in_bytes": "5"}
    write(tmp_path / "memory", **files)
    assert memory_left("4:memory:/\n", tmp_path) is None
    write(tmp_path / "memory", memory__limit_in_bytes="105")
    assert memory_left("4:memory:/\n", tmp_path) == 100
