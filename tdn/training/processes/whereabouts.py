"""Where a process stands: which step, and what it is doing there.

The main thread notes each phase as it begins. The watchdog reads the last note; profilers show
every phase as a range: Nsight Systems by NVTX, torch's profiler while it records
(``tdn.training.profiling``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, NamedTuple, cast

import torch

if TYPE_CHECKING:
    from tdn.pipelines.loader import Batch

STARTING = "starting"
DATA = "waiting for data"
FORWARD = "forward"
LOSS = "loss"
BACKWARD = "backward and averaging gradients"
UPDATE = "updating weights"
METRICS = "metrics"
COMMUNICATION = "waiting for the other processes or the device"
REPORTING = "reporting"
SAVING = "saving"
VALIDATING = "validating"
PROFILING = "writing a profile"

TOGETHER = (BACKWARD, COMMUNICATION)
"""Phases in which a process may wait for others."""

Follower = Callable[[str], object]
"""Told the name of every phase that begins; by that, the one before has ended."""


class Moment(NamedTuple):
    """What a process was doing, and since when."""

    step: int
    """Finished steps of the run."""
    phase: str
    since: float
    """``time.monotonic()``."""


class Whereabouts:
    """Kept by the process's main thread, read by its watchdog. Noting costs next to nothing.

    Args:
        followers: Who is told of each phase.
    """

    def __init__(self, *followers: Follower) -> None:
        self.followers = list(followers)
        self.now = Moment(0, STARTING, time.monotonic())

    def note(self, phase: str, step: int | None = None) -> None:
        """A phase begins; with it, possibly, another step."""
        self.now = Moment(self.now.step if step is None else step, phase, time.monotonic())
        for tell in self.followers:
            tell(phase)


class NotedBatches:
    """Batches, each with a note that it is waited for and one that it is worked on.

    Args:
        batches: They have a length if the loader has.
        whereabouts: Gets the notes.
        phase: What is done with each batch.
    """

    def __init__(self, batches: Iterable[Batch], whereabouts: Whereabouts, phase: str) -> None:
        self._batches = batches
        self._note = whereabouts.note
        self._phase = phase

    def __len__(self) -> int:
        return len(cast(Sized, self._batches))

    def __iter__(self) -> Iterator[Batch]:
        self._note(DATA)
        for batch in self._batches:
            self._note(self._phase)
            yield batch
            self._note(DATA)


class NvtxRanges:
    """Follows the phases with NVTX ranges, for Nsight Systems; without it they cost nothing."""

    def __init__(self) -> None:
        self._open = False

    def __call__(self, phase: str) -> None:
        """End the last range and begin the phase's."""
        if self._open:
            torch.cuda.nvtx.range_pop()
        torch.cuda.nvtx.range_push(phase)
        self._open = True
