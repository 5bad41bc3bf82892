"""Training from files beside training from memory: how long the step waits for its clips.

A real run of the trainer takes turns with the loader of its files and with a batch that lies on the
device. What a step from files takes longer is the stall. A turn of the loader is an epoch of its
own, begun by a loader that has nothing ready: what it reads lies in the page cache, or does not, as
it was before the turn. The first steps of every turn do not count; in them the loader gets as far
ahead as it does in training, and one that is to rest comes to rest.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator

from torch.profiler import ProfilerActivity, profile

from benchmarks.harness.common import synchronise
from benchmarks.harness.resident_run import ResidentLoader
from benchmarks.harness.rows import Row
from benchmarks.harness.timing import quantiles
from benchmarks.steps.launches import of_events
from tdn.devices import resolve_device
from tdn.pipelines.batch import Batch
from tdn.training.clock import StepClock

AHEAD = 5
"""Batches that the loader, DALI and the device may hold ready, and one more."""
PROFILED = 3
"""Steps from files of a GPU that are recorded, after all turns."""


def batches_of_a_turn(steps: int) -> int:
    """What the epoch of a turn needs, so that no file is read twice in it."""
    return AHEAD + steps + AHEAD


class TurnLoader(ResidentLoader):
    """Gives batches of files and of memory in turns, and takes the time of each turn.

    Args:
        open_files: Begins an epoch of the files, anew for every turn.
        batch: Of the same shape, on the device.
        rounds: Turns of each; in every second one memory is first.
        steps: Of a turn that count.
        device: "cpu" or "cuda".
    """

    def __init__(
        self,
        open_files: Callable[[], Iterator[Batch]],
        batch: Batch,
        rounds: int,
        steps: int,
        device: str,
    ) -> None:
        self._open_files = open_files
        self._rounds = rounds
        self.steps_of_a_turn = steps
        self._device = device
        self._clock = StepClock(resolve_device(device))
        self.files: list[tuple[float, float]] = []
        """By turn: seconds of a step, and those of them in which it waited for its batch."""
        self.memory: list[tuple[float, float]] = []
        self.profiled: Row = {}
        last = AHEAD + PROFILED if device == "cuda" else 0
        total = AHEAD + 2 * rounds * (AHEAD + steps) + last + 1
        super().__init__(batch, total, lambda _: None)

    def __iter__(self) -> Iterator[Batch]:
        yield from itertools.repeat(self._batch, AHEAD)  # warms up
        for number in range(self._rounds):
            turns = (self._files_turn, self._memory_turn)
            for turn in turns[:: 1 if number % 2 == 0 else -1]:
                yield from turn()
        if self._device == "cuda":
            yield from self._profiled_turn()
        yield self._batch  # when it is asked for, the last turn has ended

    def _files_turn(self) -> Iterator[Batch]:
        return self._timed(self._open_files(), self.files)

    def _memory_turn(self) -> Iterator[Batch]:
        return self._timed(itertools.repeat(self._batch), self.memory)

    def _timed(self, batches: Iterator[Batch], into: list[tuple[float, float]]) -> Iterator[Batch]:
        yield from itertools.islice(batches, AHEAD)
        synchronise(self._device)
        self._clock.restart()
        for _ in range(self.steps_of_a_turn):
            with self._clock.waiting():
                batch = next(batches)
            yield batch
        synchronise(self._device)
        seconds, waited = self._clock.read()
        into.append((seconds / self.steps_of_a_turn, waited * seconds / self.steps_of_a_turn))

    def _profiled_turn(self) -> Iterator[Batch]:
        batches = self._open_files()
        yield from itertools.islice(batches, AHEAD)
        synchronise(self._device)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as record:
            yield from itertools.islice(batches, PROFILED)
            synchronise(self._device)
        self.profiled = of_events(record.events(), PROFILED)


def stall_values(loader: TurnLoader, clips: int) -> Row:
    """Columns of a run."""
    files, memory = ([seconds for seconds, _ in turns] for turns in (loader.files, loader.memory))
    stalls = [100 * (1 - there / here) for here, there in zip(files, memory, strict=True)]
    stall, low, high = quantiles(stalls)
    return {
        "files_ms": round(1e3 * statistics.median(files), 3),
        "memory_ms": round(1e3 * statistics.median(memory), 3),
        "wait_ms": round(1e3 * statistics.median(waited for _, waited in loader.files), 3),
        "stall_percent": round(stall, 2),
        "stall_percent_low": round(low, 2),
        "stall_percent_high": round(high, 2),
        "clips_per_s": round(clips / statistics.median(files), 2),
        "turns": len(files),
        "steps_of_a_turn": loader.steps_of_a_turn,
        **loader.profiled,
    }
