"""What is said of torch, of communication, Apex, Triton and NVIDIA's libraries."""

from __future__ import annotations

import importlib.machinery
import types

import pytest
import torch
import torch.distributed as dist

from tdn.doctor import apex_build, communication, libraries, torch_build, triton_kernels
from tdn.doctor.communication import Backend
from tdn.doctor.libraries import Library
from tdn.doctor.torch_build import Build, Device
from tdn.doctor.triton_kernels import Trial
from tdn.training.optimizing.optimizers import apex_obstacle

H100 = Device("NVIDIA H100", 80 << 30, (9, 0), bf16=True)
GOOD = Build("2.13.0+cu130", "13.0", gpu=True, devices=(H100,), oldest=(7, 5))


def of_torch(**changes):
    return list(torch_build.judge(GOOD._replace(**changes)))


def test_torch_and_its_gpus():
    build, device = of_torch()
    assert (build.level, device.level) == ("ok", "ok")
    assert "CUDA 13.0" in build.found
    for words in ("80.0 GiB", "9.0", "bf16"):
        assert words in device.found
    assert "no bf16" not in device.found


def test_a_cpu_build():
    (finding,) = of_torch(version="2.13.0+cpu", cuda=None, gpu=False, devices=())
    assert finding.level == "ok"
    (finding,) = of_torch(version="2.13.0+cpu", cuda=None, devices=())
    assert finding.level == "fail"
    assert "torch==2.13.0" in finding.remedy
    assert "cu130" in finding.remedy


def test_a_cuda_build_without_a_gpu():
    (finding,) = of_torch(gpu=False, devices=())
    assert finding.level == "ok"


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        ("The NVIDIA driver on your system is too old (found version 12080).", "580"),
        ("CUDA-capable device(s) is/are busy or unavailable", "nvidia-smi shows who"),
        ("CUDA unknown error", "nvidia_uvm"),
    ],
)
def test_a_gpu_that_torch_cannot_use(problem, remedy):
    (finding,) = of_torch(problem=problem, devices=())
    assert finding.level == "fail"
    assert problem in finding.found
    assert remedy in finding.remedy


def test_a_gpu_that_torch_does_not_see():
    (finding,) = of_torch(devices=())
    assert finding.level == "fail"
    assert "CUDA_VISIBLE_DEVICES" in finding.remedy


def test_older_gpus():
    _, v100 = of_torch(devices=(H100._replace(capability=(7, 0), bf16=False),))
    assert v100.level == "fail"
    assert "--training.device cpu" in v100.remedy
    _, t4 = of_torch(devices=(H100._replace(capability=(7, 5), bf16=False),))
    assert t4.level == "ok"
    assert "fp16" in t4.found


def test_what_torch_sees_here():
    seen = torch_build.look()
    assert seen.version == torch.__version__
    assert len(seen.devices) == torch.cuda.device_count()


@pytest.mark.parametrize(
    ("backend", "problem", "remedy"),
    [
        ("gloo", "Unable to resolve hostname to a (local) address", "GLOO_SOCKET_IFNAME"),
        ("gloo", "something else", "TORCH_CPP_LOG_LEVEL"),
        ("nccl", "No space left on device, /dev/shm/nccl-x", "--shm-size"),
        ("nccl", "unhandled system error", "NCCL_DEBUG"),
        ("nccl", "Bootstrap : no socket interface found", "NCCL_SOCKET_IFNAME"),
    ],
)
def test_processes_that_cannot_talk(backend, problem, remedy):
    finding = communication.judge(Backend(backend, "2.28.9", problem))
    assert finding.level == "fail"
    assert problem in finding.found
    assert remedy in finding.remedy


def test_processes_that_can():
    finding = communication.judge(Backend("nccl", "2.28.9"))
    assert finding.level == "ok"
    assert "2.28.9" in finding.found


def test_communication_is_tried(monkeypatch):
    assert [finding.level for finding in communication.check()][:1] == ["ok"]
    assert not dist.is_initialized()

    def refuse(*_, **__):
        raise RuntimeError("Unable to resolve hostname\nand more")

    monkeypatch.setattr(dist, "init_process_group", refuse)
    finding = next(communication.check())
    assert (finding.level, finding.found) == ("fail", "Unable to resolve hostname")


def test_a_wrong_sum_is_noticed(monkeypatch):
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: tensor.add_(1))
    finding = next(communication.check())
    assert finding.level == "fail"
    assert "wrong" in finding.found


def test_apex_that_is_whole():
    assert apex_build.judge("0.1", None, gpu=True).level == "ok"
    assert "no GPU" in apex_build.judge("0.1", None, gpu=False).found


def test_apex_that_cannot_be_used():
    finding = apex_build.judge("0.1", "it was installed without amp_C; build it", gpu=True)
    assert finding.level == "warn"
    assert "amp_C" in finding.found
    assert finding.remedy == "build it"


def test_apex_that_is_not_there(monkeypatch):
    monkeypatch.setattr(apex_build.importlib.util, "find_spec", lambda _: None)
    (finding,) = apex_build.check()
    assert finding.level == "ok"


def test_the_foreign_package_of_that_name(monkeypatch, tmp_path):
    spec = importlib.machinery.ModuleSpec("apex", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(apex_build.importlib.util, "find_spec", lambda _: spec)
    (finding,) = apex_build.check()
    assert finding.level == "warn"
    assert "Pyramid" in finding.found
    assert "pip uninstall apex" in finding.remedy
    obstacle = apex_obstacle("sgd", torch.device("cuda"), {torch.float32})
    assert finding.found.startswith(obstacle.partition("; ")[0])


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        ("RuntimeError: Failed to find C compiler.", "apt-get install gcc"),
        ("CalledProcessError: Command '['/usr/bin/gcc', ...", "python3-dev"),
        ("AssertionError: libcuda.so cannot found!", "ldconfig"),
        ("PermissionError: [Errno 13] Permission denied: '/home/x/.triton'", "TRITON_CACHE_DIR"),
        ("OSError: [Errno 122] Disk quota exceeded", "TRITON_CACHE_DIR"),
        ("PTXASError: PTXAS error: Internal Triton PTX codegen error", "TDN_KERNELS=reference"),
    ],
)
def test_kernels_that_do_not_compile(problem, remedy):
    finding = triton_kernels.judge(Trial("3.9.0", gpu=True, problem=problem))
    assert finding.level == "fail"
    assert problem in finding.found
    assert remedy in finding.remedy
    assert triton_kernels.judge(Trial("3.9.0", gpu=False, problem=problem)).level == "warn"


def test_kernels_that_run():
    assert "compiles" in triton_kernels.judge(Trial("3.9.0", gpu=True)).found
    assert "interpreter" in triton_kernels.judge(Trial("3.9.0", gpu=False)).found


def test_a_wrong_kernel_is_noticed(monkeypatch):
    from tdn.kernels import temporal_conv

    assert triton_kernels._try_kernel("cpu") == ""
    results = iter([torch.zeros(1), torch.full((1,), 0.5)])
    monkeypatch.setattr(temporal_conv, "temporal_conv", lambda *_: next(results))
    assert "0.5" in triton_kernels._try_kernel("cpu")


@pytest.mark.parametrize(
    ("triton", "gpu", "level"),
    [(True, True, "ok"), (False, False, "ok"), (False, True, "warn"), (True, False, "warn")],
)
def test_the_choice_of_kernels(triton, gpu, level):
    finding = triton_kernels.judge_choice(triton, gpu)
    assert finding.level == level
    assert ("unset TDN_KERNELS" in finding.remedy) == (level == "warn")


def test_a_wrong_choice_of_kernels(monkeypatch):
    from tdn.kernels import backend

    monkeypatch.setattr(backend, "_requested", "tritan")
    (finding,) = triton_kernels.check_choice()
    assert finding.level == "fail"
    assert "tritan" in finding.found
    assert "auto" in finding.remedy


def test_libraries_that_load():
    assert libraries.load("c", "libc.so.6") == Library("c", "libc.so.6")
    assert libraries.judge(Library("nvdec", "libnvcuvid.so.1"), gpu=True).level == "ok"


@pytest.mark.parametrize(
    ("name", "remedy"), [("nvdec", "NVIDIA_DRIVER_CAPABILITIES"), ("nvjpeg", "nvidia-nvjpeg")]
)
def test_libraries_that_are_missing(name, remedy):
    missing = libraries.load(name, "libnosuchthing.so.1")
    finding = libraries.judge(missing, gpu=True)
    assert finding.level == "fail"
    assert "libnosuchthing" in finding.found
    assert remedy in finding.remedy
    assert libraries.judge(missing, gpu=False).level == "ok"


def test_nvjpeg_is_the_one_that_dali_brings(monkeypatch):
    brought = types.SimpleNamespace(name="libnvjpeg.so.13", locate=lambda: "/env/libnvjpeg.so.13")
    monkeypatch.setattr(libraries.metadata, "files", lambda _: [brought])
    assert libraries._nvjpeg() == "/env/libnvjpeg.so.13"
