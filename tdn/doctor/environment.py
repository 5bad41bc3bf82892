"""Environment variables that get in the way, and the clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import tdn
from tdn.doctor import gpus
from tdn.doctor.findings import Finding, Level, ok, warn
from tdn.machine import usable_cores


class Surroundings(NamedTuple):
    """What the variables are judged by."""

    variables: Mapping[str, str]
    gpu: bool
    """Whether the machine has a GPU."""
    cores: int
    """CPU cores that processes started here may use."""
    libraries: str = ""
    """A folder on LD_LIBRARY_PATH that holds libraries of CUDA; else empty."""

    def is_on(self, variable: str) -> bool:
        """Whether a switch is set."""
        return self.variables.get(variable, "") not in ("", "0")

    @property
    def processes(self) -> int:
        """Processes of a run on this machine."""
        text = self.variables.get("LOCAL_WORLD_SIZE", "1")
        return int(text) if text.isdigit() else 1


class _Rule(NamedTuple):
    level: Level
    variable: str
    applies: Callable[[Surroundings], bool]
    found: str
    remedy: str
    """Both may hold {value}, {cores} of each process, and {libraries}."""


def _switch(variable: str, effect: str) -> _Rule:
    """A rule for a switch that slows down work on a GPU."""
    return _Rule(
        "warn",
        variable,
        lambda here: here.gpu and here.is_on(variable),
        f"is {{value}}: {effect}",
        f"unset {variable}",
    )


_RULES = (
    _Rule(
        "warn",
        "CUDA_VISIBLE_DEVICES",
        lambda here: here.gpu and gpus.is_hidden(here.variables),
        "is '{value}': it hides every GPU, and everything runs on the CPU",
        "unset CUDA_VISIBLE_DEVICES",
    ),
    _Rule(
        "warn",
        "NVIDIA_VISIBLE_DEVICES",
        lambda here: (
            not here.gpu and here.variables.get("NVIDIA_VISIBLE_DEVICES") in ("void", "none")
        ),
        "is {value}: this container was started without the machine's GPUs",
        "docker run --gpus all ... (Kubernetes: a limit of nvidia.com/gpu)",
    ),
    _Rule(
        "fail",
        "TRITON_INTERPRET",
        lambda here: here.gpu and here.is_on("TRITON_INTERPRET"),
        "is {value}: Triton's kernels are interpreted, thousands of times slower than compiled",
        "unset TRITON_INTERPRET",
    ),
    _switch("CUDA_LAUNCH_BLOCKING", "the CPU waits for every kernel"),
    _switch("PYTORCH_NO_CUDA_MEMORY_CACHING", "every tensor's memory comes from the driver"),
    _switch("NCCL_P2P_DISABLE", "GPUs exchange gradients through the host's memory"),
    _switch("NCCL_SHM_DISABLE", "processes exchange gradients through the network"),
    _switch("NCCL_IB_DISABLE", "hosts exchange gradients without InfiniBand"),
    _Rule(
        "warn",
        "TORCH_DISTRIBUTED_DEBUG",
        lambda here: here.variables.get("TORCH_DISTRIBUTED_DEBUG", "").upper() == "DETAIL",
        "is {value}: every exchange between processes is checked by a second one",
        "unset TORCH_DISTRIBUTED_DEBUG",
    ),
    _Rule(
        "fail",
        "RANK",
        lambda here: (
            "RANK" in here.variables
            and not {"WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= here.variables.keys()
        ),
        "is {value}, but WORLD_SIZE, MASTER_ADDR and MASTER_PORT are not all set: training would "
        "look for other processes in vain",
        "unset RANK, or start with torchrun, which sets them all",
    ),
    _Rule(
        "warn",
        "OMP_NUM_THREADS",
        lambda here: here.processes > 1 and "OMP_NUM_THREADS" not in here.variables,
        "is not set: each process of this machine would start threads for all cores",
        "export OMP_NUM_THREADS={cores}",
    ),
    _Rule(
        "warn",
        "OMP_NUM_THREADS",
        lambda here: _threads(here) * here.processes > here.cores,
        "is {value}: more threads than there are cores for a process",
        "export OMP_NUM_THREADS={cores}",
    ),
    _Rule(
        "warn",
        "OMP_NUM_THREADS",
        lambda here: (
            not here.gpu
            and "TORCHELASTIC_RUN_ID" in here.variables
            and _threads(here) == 1
            and here.cores // here.processes > 1
        ),
        "is {value}, which torchrun sets where it is not set: each process has {cores} cores",
        "export OMP_NUM_THREADS={cores} before torchrun",
    ),
    _Rule(
        "warn",
        "LD_LIBRARY_PATH",
        lambda here: here.gpu and here.libraries != "",
        "holds {libraries}, whose CUDA libraries are taken instead of those that torch and DALI "
        "bring along",
        "unset LD_LIBRARY_PATH, or take that folder out of it",
    ),
)


def _threads(here: Surroundings) -> int:
    text = here.variables.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdigit() else 0


def check() -> Iterator[Finding]:
    """Look at the variables and at the clock."""
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    yield from judge(
        Surroundings(
            os.environ,
            gpus.is_present(),
            usable_cores(),
            next((folder for folder in folders if folder and holds_cuda(Path(folder))), ""),
        )
    )
    yield judge_clock(time.time(), Path(tdn.__file__).stat().st_mtime)


def holds_cuda(folder: Path) -> bool:
    """Whether a folder holds libraries that torch and DALI bring along themselves."""
    names = ("libcudnn.so*", "libnccl.so*", "libcublas.so*", "libnvjpeg.so*")
    return any(next(folder.glob(name), None) for name in names)


def judge(here: Surroundings) -> Iterator[Finding]:
    """What to say of the variables."""
    fine = True
    for rule in _RULES:
        if rule.applies(here):
            fine = False
            words = {
                "value": here.variables.get(rule.variable, ""),
                "cores": max(1, here.cores // here.processes),
                "libraries": here.libraries,
            }
            yield Finding(
                rule.level, rule.variable, rule.found.format(**words), rule.remedy.format(**words)
            )
    if fine:
        yield ok("environment", "no variable gets in the way")


def judge_clock(now: float, installed: float) -> Finding:
    """What to say of the clock; both in seconds since 1970."""
    shown = time.strftime("%Y-%m-%d %H:%M", time.gmtime(now))
    if now < installed - 86400:
        return warn(
            "clock",
            f"{shown} UTC, which is before this program was installed: changed files would be "
            "taken for unchanged",
            "sudo timedatectl set-ntp true",
        )
    return ok("clock", f"{shown} UTC")
