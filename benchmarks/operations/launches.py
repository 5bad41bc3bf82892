"""Launches of every contestant, counted by processes that also compile ahead for this one.

torch.compile takes most of a benchmark's time, on one core. So before anything is timed, a process
for each core sets up contestants: what they compile lands in the caches of torch and of Triton,
where the process that measures finds it. On the way they count launches with torch's profiler,
which so never touches the process whose launches are timed.
"""

from __future__ import annotations

import multiprocessing
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness.common import described, synchronise
from benchmarks.operations.catalogue import Operation, Size
from benchmarks.operations.contestants import Contestant, Peer, new_operation, new_sample
from tdn.machine import usable_cores

GENERATED = re.compile(r"^(triton_|_[a-z]\w*_kernel)")
"""Kernels of torch.compile, and ours."""
NORM = re.compile(r"batch_?norm|bn_[fb]w", re.IGNORECASE)
LIBRARY = re.compile(
    r"conv(?!ert)|cudnn|cutlass|gemm|gemv|nvjet|xmma|winograd|splitk|[fdw](prop|grad)|"
    r"nchwtonhwc|nhwctonchw",
    re.IGNORECASE,
)
"""Convs and matrix products of the libraries, with the changes of layout they make."""


@dataclass(frozen=True)
class Launches:
    """What a run puts on the GPU."""

    convs: int
    """Kernels of convs and matrix products."""
    others: int
    """All other kernels."""
    memory: int
    """Copies and fills by the driver, not by a kernel."""
    names: tuple[str, ...]
    """The other kernels', with how often each is launched."""

    def __add__(self, other: Launches) -> Launches:
        """Of one run behind the other."""
        return Launches(
            self.convs + other.convs,
            self.others + other.others,
            self.memory + other.memory,
            self.names + other.names,
        )


@dataclass(frozen=True)
class Job:
    """A contestant to set up."""

    device: str
    """cpu or cuda."""
    operation: type[Operation]
    size: Size
    peer: Peer


Counts = dict[Job, dict[str, Launches | None]]
"""By job and mode."""


def sort_launches(names: Iterable[str]) -> Launches:
    """Sort what a profiler saw on the GPU, by name."""
    kernels: Counter[str] = Counter()
    convs = memory = 0
    for name in names:
        if name.startswith(("Memcpy", "Memset")):
            memory += 1
        elif GENERATED.match(name) or NORM.search(name) or not LIBRARY.search(name):
            kernels[name.removeprefix("void ")[:60]] += 1
        else:
            convs += 1
    listed = tuple(f"{count} x {name}" for name, count in kernels.items())
    return Launches(convs, kernels.total(), memory, listed)


def compile_ahead(jobs: list[Job], seconds: float) -> Counts:
    """Set up contestants on all cores.

    Args:
        jobs: those that compile longest should come first.
        seconds: after which what is not done is left to the measurement itself.

    Returns:
        Launches by job and mode, of the jobs that were done. Of one that failed there are none;
        stderr has the reason, as has its row if it fails again.
    """
    end = time.monotonic() + seconds
    cores = usable_cores()
    counts: Counts = {}
    with multiprocessing.get_context("spawn").Pool(max(1, min(cores - 1, len(jobs)))) as pool:
        done = pool.imap_unordered(_set_up, jobs)
        for _ in jobs:
            try:
                job, counts_of_job, error = done.next(timeout=max(0.0, end - time.monotonic()))
            except multiprocessing.TimeoutError:
                break
            counts[job] = counts_of_job
            if error:
                name = f"{job.operation.name} {job.size}, {job.size.clips} clips, {job.peer.name}"
                print(f"ahead, {name}: {error}", file=sys.stderr, flush=True)
    return counts


def _set_up(job: Job) -> tuple[Job, dict[str, Launches | None], str | None]:
    """In a process of its own: launches by mode, or an error."""
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1  # every core has a process already
    torch.backends.cudnn.benchmark = True
    peer = job.peer
    try:
        operation = new_operation(job.operation, job.size, peer.dtype, peer.layout, job.device)
        sample = new_sample(operation, peer.layout, job.device, seed=0)
        contestant = Contestant(peer, operation, [sample])
        return job, count_launches(contestant), None
    except Exception as error:
        return job, {}, described(error)
    finally:
        torch.compiler.reset()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def count_launches(contestant: Contestant) -> dict[str, Launches | None]:
    """Profile a run of every mode; None where a profiler sees nothing of the device."""
    contestant.results()
    _profiled(contestant, "forward")  # the first profile of a process may miss its first kernels
    modes = contestant.operation.modes
    counts = {mode: _profiled(contestant, mode) for mode in modes if mode != "both"}
    if "both" in modes:
        forward, backward = counts["forward"], counts["backward"]
        counts["both"] = forward + backward if forward and backward else None
    return counts


def _profiled(contestant: Contestant, mode: str) -> Launches | None:
    work = contestant.start(mode, 1)
    synchronise(contestant.device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
        synchronise(contestant.device)
    names = [
        event.name
        for event in profiler.events() or []
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    ]
    return sort_launches(names) if names else None
