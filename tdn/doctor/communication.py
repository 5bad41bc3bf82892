"""Communication between processes: gloo for what is on the CPU, NCCL between GPUs.

A group of one process already does what fails on badly set up hosts: it finds the host's address,
opens a connection, loads the library and makes a communicator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tdn.doctor.findings import Finding, fail, ok


class Backend(NamedTuple):
    """A library that processes talk through."""

    name: str
    """gloo or nccl."""
    version: str = ""
    problem: str = ""
    """Why it does not work; else empty."""


def check() -> Iterator[Finding]:
    """Try the libraries."""
    import torch
    import torch.distributed as dist

    yield judge(Backend("gloo", problem=_problem("gloo", "cpu")))
    if torch.cuda.is_available():
        if not dist.is_nccl_available():
            yield judge(Backend("nccl", problem="torch is built without it"))
            return
        version = ".".join(map(str, torch.cuda.nccl.version()))
        yield judge(Backend("nccl", version, _problem("nccl", "cuda")))


def _problem(backend: str, device: str) -> str:
    """Why a sum over the processes fails, of which there is one; else empty."""
    import torch
    import torch.distributed as dist

    try:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        ones = torch.ones(4, device=device)
        dist.all_reduce(ones)
        right = ones.sum().item() == 4
        dist.destroy_process_group()
    except (RuntimeError, ValueError) as error:
        return str(error).splitlines()[0]
    return "" if right else "a sum over one process is wrong"


def judge(backend: Backend) -> Finding:
    """What to say of a library."""
    if not backend.problem:
        version = f"{backend.version}: " if backend.version else ""
        return ok(backend.name, f"{version}processes can exchange values")
    return fail(backend.name, backend.problem, remedy(backend))


def remedy(backend: Backend) -> str:
    """What to type where a library does not work."""
    said = backend.problem.lower()
    if "resolve" in said or "address" in said or "interface" in said:
        variable = f"{backend.name.upper()}_SOCKET_IFNAME"
        return f"export {variable}=NAME, one of the network's names that 'ip -brief link' shows"
    if "shm" in said or "shared memory" in said or "space left" in said:
        return "docker run --shm-size 8g, or --ipc host"
    if backend.name == "nccl":
        return "export NCCL_DEBUG=INFO, and run this again: the library then says why"
    return "export TORCH_CPP_LOG_LEVEL=INFO, and run this again: the library then says why"
