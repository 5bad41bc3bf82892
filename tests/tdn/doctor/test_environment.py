from __future__ import annotations

import pytest

from tdn.doctor.environment import Surroundings, holds_cuda, judge, judge_clock

TORCHRUN = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
TORCHRUN |= {"MASTER_ADDR": "a", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "b"}


def judged(variables, *, gpu=True, cores=8, libraries=""):
    return list(judge(Surroundings(variables, gpu, cores, libraries)))


@pytest.mark.parametrize(
    ("variables", "level", "remedy"),
    [
        ({"CUDA_VISIBLE_DEVICES": ""}, "warn", "unset CUDA_VISIBLE_DEVICES"),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, "warn", "unset CUDA_VISIBLE_DEVICES"),
        ({"TRITON_INTERPRET": "1"}, "fail", "unset TRITON_INTERPRET"),
        ({"CUDA_LAUNCH_BLOCKING": "1"}, "warn", "unset CUDA_LAUNCH_BLOCKING"),
        ({"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}, "warn", "unset PYTORCH_NO_CUDA"),
        ({"NCCL_P2P_DISABLE": "1"}, "warn", "unset NCCL_P2P_DISABLE"),
        ({"NCCL_SHM_DISABLE": "1"}, "warn", "unset NCCL_SHM_DISABLE"),
        ({"NCCL_IB_DISABLE": "1"}, "warn", "unset NCCL_IB_DISABLE"),
        ({"TORCH_DISTRIBUTED_DEBUG": "detail"}, "warn", "unset TORCH_DISTRIBUTED_DEBUG"),
        ({"RANK": "0"}, "fail", "torchrun"),
        ({"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "a"}, "fail", "torchrun"),
        ({"LOCAL_WORLD_SIZE": "4"}, "warn", "export OMP_NUM_THREADS=2"),
        ({"OMP_NUM_THREADS": "64"}, "warn", "export OMP_NUM_THREADS=8"),
        ({"OMP_NUM_THREADS": "8", **TORCHRUN}, "warn", "export OMP_NUM_THREADS=4"),
    ],
)
def test_variables_that_get_in_the_way(variables, level, remedy):
    (finding,) = judged(variables)
    assert finding.level == level
    assert finding.name in variables or finding.name == "OMP_NUM_THREADS"
    assert remedy in finding.remedy
    assert "{" not in finding.found + finding.remedy


@pytest.mark.parametrize(
    ("variables", "gpu"),
    [
        ({}, True),
        ({"CUDA_VISIBLE_DEVICES": ""}, False),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, True),
        ({"TRITON_INTERPRET": "1"}, False),
        ({"TRITON_INTERPRET": "0"}, True),
        ({"NCCL_IB_DISABLE": "0"}, True),
        ({"NCCL_IB_DISABLE": "1"}, False),
        ({"TORCH_DISTRIBUTED_DEBUG": "OFF"}, True),
        ({"OMP_NUM_THREADS": "1", **TORCHRUN}, True),
        ({"OMP_NUM_THREADS": "4", **TORCHRUN}, False),
        ({"OMP_NUM_THREADS": "4,2"}, True),
    ],
)
def test_variables_that_do_not(variables, gpu):
    (finding,) = judged(variables, gpu=gpu)
    assert finding.level == "ok"


def test_the_one_thread_that_torchrun_sets_on_a_cpu():
    (finding,) = judged({"OMP_NUM_THREADS": "1", **TORCHRUN}, gpu=False)
    assert finding.level == "warn"
    assert "OMP_NUM_THREADS=4" in finding.remedy
    (finding,) = judged({"OMP_NUM_THREADS": "1", **TORCHRUN}, gpu=False, cores=2)
    assert finding.level == "ok"


def test_a_container_without_the_machines_gpus():
    (finding,) = judged({"NVIDIA_VISIBLE_DEVICES": "void"}, gpu=False)
    assert finding.level == "warn"
    assert "--gpus all" in finding.remedy
    (finding,) = judged({"NVIDIA_VISIBLE_DEVICES": "all"}, gpu=False)
    assert finding.level == "ok"


def test_foreign_libraries_of_cuda(tmp_path):
    (tmp_path / "libcudart.so.12").write_text("")
    assert not holds_cuda(tmp_path)
    (tmp_path / "libcudnn.so.8").write_text("")
    assert holds_cuda(tmp_path)
    assert not holds_cuda(tmp_path / "none")
    (finding,) = judged({"LD_LIBRARY_PATH": "x:y"}, libraries="y")
    assert finding.level == "warn"
    assert "LD_LIBRARY_PATH" in finding.remedy


def test_several_variables_are_several_findings():
    found = judged({"CUDA_LAUNCH_BLOCKING": "1", "TRITON_INTERPRET": "1"})
    assert {finding.name for finding in found} == {"CUDA_LAUNCH_BLOCKING", "TRITON_INTERPRET"}


def test_the_clock():
    assert judge_clock(2e9, 1.9e9).level == "ok"
    assert judge_clock(1.9e9 - 60, 1.9e9).level == "ok"  # a time zone's or a copy's difference
    finding = judge_clock(0, 1.9e9)
    assert finding.level == "warn"
    assert "1970-01-01" in finding.found
    assert "timedatectl" in finding.remedy
