"""Turns of contestants: their times and memory, measured side by side."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from benchmarks.harness.timing import Clock
from benchmarks.operations.contestants import Contestant

MOST_LEAD = 5.0
"""Milliseconds; the host launches some 500 kernels in that time."""
MEMORY = 8 << 30
"""Bytes that the forward passes of a batch of backward passes may hold."""


@dataclass(frozen=True)
class Effort:
    """How much is measured; the default takes a GPU about 0.1 s a contestant and mode."""

    rounds: int = 11
    """In which all contestants take turns with a batch; quantiles are over these."""
    batch_ms: float = 2.0
    """Time that the runs of a batch fill, if one of them does not take longer."""
    warm_up: int = 3
    """Runs before, which compile and choose among a library's algorithms."""


@dataclass
class Times:
    """Milliseconds of an iteration in every round."""

    called: list[float] = field(default_factory=list)
    """From an idle GPU, so that launches count."""
    gpu: list[float] = field(default_factory=list)
    """With the launches ahead; nothing on a CPU."""


def take_times(clock: Clock, contestant: Contestant, mode: str, runs: int, times: Times) -> None:
    """Time two batches of runs, one without and one with a lead."""
    iterations = runs * contestant.iterations
    called = clock.time(contestant.start(mode, runs))
    times.called.append(called / iterations)
    if clock.device == "cuda":
        gpu = clock.time(contestant.start(mode, runs), lead=min(1.5 * called, MOST_LEAD))
        times.gpu.append(gpu / iterations)


def peak_bytes(contestant: Contestant, mode: str) -> int | None:
    """Most memory held in a run of a mode, beyond inputs and parameters; None on a CPU.

    Of a backward pass that includes what the forward pass before keeps for it.
    """
    if contestant.device == "cpu" or contestant.peer.graph:
        return None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    contestant.start(mode, 1)()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def runs_of_a_batch(
    clock: Clock, contestant: Contestant, mode: str, peak: int | None, effort: Effort
) -> int:
    """Runs that fill the time of a batch, and memory at most; warms up."""
    for _ in range(effort.warm_up):
        taken = clock.time(contestant.start(mode, 1))
    runs = max(1, min(100, round(effort.batch_ms / max(taken, 1e-3))))
    if mode == "backward" and peak:
        runs = max(1, min(runs, MEMORY // peak))
    return runs
