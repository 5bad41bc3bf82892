"""What the system allows a process: open files, locked memory, shared memory."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tdn.doctor.findings import Finding, ok, warn
from tdn.doctor.gpus import has_gpu

MB, GB = 1e6, 1e9
FILES = 4096
"""Open files that are plenty: NCCL holds some hundreds of connections, a loader its shards."""
SHARED = 1 * GB
"""Shared memory that is plenty: NCCL takes some ten MB for each pair of GPUs; Docker gives 64 MB
in all."""
_MANY = 65536


class Limits(NamedTuple):
    """Of this process."""

    files: int
    """Files that may be open."""
    most_files: int
    """What that may be raised to."""
    locked: int
    """Bytes of memory that may be locked; -1 if all."""
    infiniband: bool
    """Whether there is a network card that writes into locked memory."""
    shared: int | None
    """Free bytes of /dev/shm; None where there is none."""
    gpu: bool


def look() -> Limits:
    """Those of this process."""
    files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    shm = Path("/dev/shm")
    shared = None
    if shm.is_dir():
        status = os.statvfs(shm)
        shared = status.f_bavail * status.f_frsize
    return Limits(
        files=_unlimited(files),
        most_files=_unlimited(most_files),
        locked=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        infiniband=any(Path("/sys/class/infiniband").glob("*")),
        shared=shared,
        gpu=has_gpu(),
    )


def _unlimited(number: int) -> int:
    return 1 << 30 if number == resource.RLIM_INFINITY else number


def check() -> Iterator[Finding]:
    """Look at the limits."""
    yield from judge(look())


def judge(limits: Limits) -> Iterator[Finding]:
    """What to say of the limits."""
    yield _files(limits)
    yield _locked(limits)
    yield _shared(limits)


def _files(limits: Limits) -> Finding:
    if limits.files >= FILES:
        return ok("open files", f"{limits.files} at once")
    if limits.most_files >= FILES:
        remedy = f"ulimit -n {min(limits.most_files, _MANY)}"
    else:
        remedy = (
            f"raise nofile to {_MANY} in /etc/security/limits.conf and log in again "
            f"(docker run --ulimit nofile={_MANY}:{_MANY})"
        )
    return warn("open files", f"{limits.files} at once, {FILES} are plenty", remedy)


def _locked(limits: Limits) -> Finding:
    unlimited = limits.locked == resource.RLIM_INFINITY
    found = "unlimited" if unlimited else f"{limits.locked / MB:.0f} MB"
    if limits.infiniband and not unlimited:
        return warn(
            "locked memory",
            f"{found}, but InfiniBand writes into locked memory",
            "ulimit -l unlimited (docker run --ulimit memlock=-1; Slurm: "
            "PropagateResourceLimitsExcept=MEMLOCK)",
        )
    return ok("locked memory", found)


def _shared(limits: Limits) -> Finding:
    remedy = (
        "docker run --shm-size 8g, or --ipc host (Kubernetes: an emptyDir of medium Memory "
        "mounted at /dev/shm)"
    )
    if limits.shared is None:
        found = "there is no /dev/shm"
    else:
        found = f"{limits.shared / GB:.2f} GB free in /dev/shm"
    if limits.shared is not None and limits.shared >= SHARED:
        return ok("shared memory", found)
    if not limits.gpu:
        return ok("shared memory", f"{found}; without GPUs it is not needed")
    return warn("shared memory", f"{found}: NCCL may fail between GPUs", remedy)
