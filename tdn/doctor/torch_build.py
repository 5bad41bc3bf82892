"""PyTorch's build, and the GPUs as it sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tdn.doctor import gpus
from tdn.doctor.findings import Finding, fail, ok
from tdn.doctor.remedies import CUDA_WHEELS, pip

GIB = 1 << 30


class Device(NamedTuple):
    """A GPU as torch sees it."""

    name: str
    memory: int
    """Bytes."""
    capability: tuple[int, int]
    """Compute capability."""
    bf16: bool
    """Whether it computes in bfloat16."""


class Build(NamedTuple):
    """What was seen."""

    version: str
    cuda: str | None
    """Version of CUDA it is built for; None for a CPU build."""
    gpu: bool
    """Whether there is a GPU that is not hidden."""
    problem: str = ""
    """Why torch does not see it."""
    devices: tuple[Device, ...] = ()
    oldest: tuple[int, int] = (0, 0)
    """Lowest compute capability that the build has code for."""


def look() -> Build:
    """Ask torch."""
    import torch

    build = Build(torch.__version__, torch.version.cuda, gpus.has_gpu())
    if build.cuda is None or not build.gpu:
        return build
    try:
        torch.cuda.init()
    except RuntimeError as error:
        return build._replace(problem=str(error).splitlines()[0])
    built_for = [name[3:].rstrip("af") for name in torch.cuda.get_arch_list() if "sm_" in name]
    lowest = min(map(int, built_for), default=0)
    devices = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        with torch.cuda.device(index):
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        capability = (properties.major, properties.minor)
        devices.append(Device(properties.name, properties.total_memory, capability, bf16))
    return build._replace(devices=tuple(devices), oldest=divmod(lowest, 10))


def check() -> Iterator[Finding]:
    """Look at torch."""
    yield from judge(look())


def judge(build: Build) -> Iterator[Finding]:
    """What to say of torch and what it sees."""
    words = f"{build.version}, built for " + (f"CUDA {build.cuda}" if build.cuda else "CPUs")
    if build.gpu and build.cuda is None:
        plain = build.version.partition("+")[0]
        yield fail(
            "torch",
            f"{words}: it cannot use the GPU",
            pip("install", "--force-reinstall", "--index-url", CUDA_WHEELS, f"torch=={plain}"),
        )
    elif build.problem:
        yield fail("torch", f"{words}: {build.problem}", _remedy(build.problem))
    elif build.gpu and not build.devices:
        yield fail("torch", f"{words}: it sees no GPU", "nvidia-smi -L; unset CUDA_VISIBLE_DEVICES")
    else:
        yield ok("torch", words)
    for number, device in enumerate(build.devices):
        yield _judge_device(f"cuda:{number}", device, build)


def _remedy(problem: str) -> str:
    said = problem.lower()
    if "too old" in said:
        return "update the NVIDIA driver to 580 or newer; for a container, on its host"
    if "busy or unavailable" in said:
        return "nvidia-smi shows who has the GPU; end that program, or take another GPU"
    return "nvidia-smi; where it shows the GPU: sudo modprobe nvidia_uvm, or a new container"


def _judge_device(name: str, device: Device, build: Build) -> Finding:
    capability = ".".join(map(str, device.capability))
    words = f"{device.name}, {device.memory / GIB:.1f} GiB, compute capability {capability}"
    if device.capability < build.oldest:
        oldest = ".".join(map(str, build.oldest))
        return fail(
            name,
            f"{words}, but torch is built for {oldest} and newer",
            "take another GPU, or --training.device cpu",
        )
    return ok(name, f"{words}, " + ("bf16" if device.bf16 else "no bf16: training takes fp16"))
