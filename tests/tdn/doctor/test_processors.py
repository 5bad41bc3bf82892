from __future__ import annotations

import pytest

from tdn.doctor import processors
from tdn.doctor.cgroups import cpu_quota, memory_left
from tdn.doctor.processors import Processors, judge

PLENTY = Processors(
    cores=8, online=16, quota=None, memory=64 << 30, free_memory=32 << 30, omp_threads=""
)


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


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


@pytest.mark.parametrize(
    ("cores", "quota", "usable"), [(8, None, 8), (8, 3.5, 3), (2, 4.0, 2), (4, 0.5, 1)]
)
def test_usable_cores(cores, quota, usable):
    assert PLENTY._replace(cores=cores, quota=quota).usable == usable


def test_little_memory():
    finding = list(judge(PLENTY._replace(free_memory=1 << 30)))[1]
    assert finding.level == "warn"
    assert "--mem" in finding.remedy


def test_what_this_machine_has():
    found = processors.look()
    assert 1 <= found.usable <= found.cores <= found.online
    assert 0 < found.free_memory < found.memory


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
