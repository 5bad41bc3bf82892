"""Launches of every contestant, counted by processes that also compile ahead for this one.

torch.compile takes most of a benchmark's time, on one core. So before anything is timed, a process
for each core sets up contestants: what they compile lands in the caches of torch and of Triton,
where the process that measures finds it. On the way they count launches with torch's profiler,
which so never touches the process whose launches are timed.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.common import synchronise
from benchmarks.contestants import Contestant, Peer, new_operation, new_sample
from benchmarks.operations import Operation, Size

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
        """Of two runs; the names of both."""
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
    operation: type[Operation]
    size: Size
    peer: Peer


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


def compile_ahead(jobs: list[Job], seconds: float) -> dict[Job, dict[str, Launches]]:
    """Set up contestants on all cores.

    Args:
        jobs: those that compile longest should come first.
        seconds: after which what is not done is left to the measurement itself.

    Returns:
        Launches by job and mode, of the jobs that were done and did not fail.
    """
    end = time.monotonic() + seconds
    cores = len(os.sched_getaffinity(0))
    found = {}
    with multiprocessing.get_context("spawn").Pool(max(1, min(cores - 1, len(jobs)))) as pool:
        done = pool.imap_unordered(_set_up, jobs)
        for _ in jobs:
            try:
                job, launches = done.next(timeout=max(0.0, end - time.monotonic()))
            except multiprocessing.TimeoutError:
                break
            if launches is not None:
                found[job] = launches
    return found


def _set_up(job: Job) -> tuple[Job, dict[str, Launches] | None]:
    """In a process of its own. What fails here fails again, and is noted, when it is measured."""
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1  # every core has a process already
    torch.backends.cudnn.benchmark = True
    peer = job.peer
    try:
        operation = new_operation(job.operation, job.size, peer.dtype, peer.layout, job.device)
        sample = new_sample(operation, peer.layout, job.device, seed=0)
        contestant = Contestant(peer, operation, [sample])
        return job, {mode: count_launches(contestant, mode) for mode in operation.modes}
    except Exception:
        return job, None
    finally:
        torch.compiler.reset()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def count_launches(contestant: Contestant, mode: str) -> Launches:
    """Profile a run of a mode."""
    contestant.results()
    for _ in range(2):  # the first profile of a process may miss its first kernels
        work = contestant.start(mode, 1)
        synchronise(contestant.device)
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            work()
            synchronise(contestant.device)
    events = profiler.events() or []
    return sort_launches(
        event.name
        for event in events
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    )
