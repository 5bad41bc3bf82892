"""Training from files beside training from memory: how long the step waits for its clips.

A real run of the trainer takes turns with the loader of its files and with a batch that lies on the
device. What a step from files takes longer is the stall. While a turn from memory lasts the loader
can prepare batches; as many are taken before the clock of the next turn starts.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.common import synchronise
from benchmarks.resident_run import ResidentLoader
from benchmarks.rows import Row
from tdn.pipelines.loader import Batch, Loader

AHEAD = 6
"""Batches that the loader, DALI and the device may hold ready."""


class TurnLoader(ResidentLoader):
    """Gives batches of files and of memory in turns, and takes the time of each turn.

    Args:
        files: The loader of the files; epochs follow each other.
        batch: Of the same shape, on the device.
        rounds: Turns of each that count; one more warms up.
        steps: Of a turn.
        device: "cpu" or "cuda".
        before_files: Called before every turn from files.
    """

    def __init__(
        self,
        files: Loader,
        batch: Batch,
        rounds: int,
        steps: int,
        device: str,
        before_files: Callable[[], object],
    ) -> None:
        self._files = files
        self._rounds = rounds
        self._turn_steps = steps
        self._device = device
        self._before_files = before_files
        self.files: list[float] = []
        """Seconds of a step, by turn."""
        self.memory: list[float] = []
        super().__init__(batch, (rounds + 1) * (AHEAD + 2 * steps) + 1, lambda _: None)

    def __iter__(self) -> Iterator[Batch]:
        from_files = self._epochs()
        for _ in range(self._rounds + 1):
            self._before_files()
            yield from itertools.islice(from_files, AHEAD)
            yield from self._timed(from_files, self.files)
            yield from self._timed(itertools.repeat(self._batch), self.memory)
        yield self._batch  # when it is asked for, the last turn has ended

    def _epochs(self) -> Iterator[Batch]:
        for epoch in itertools.count():
            self._files.set_epoch(epoch)
            yield from self._files

    def _timed(self, batches: Iterator[Batch], into: list[float]) -> Iterator[Batch]:
        began = self._now()
        yield from itertools.islice(batches, self._turn_steps)
        into.append((self._now() - began) / self._turn_steps)

    def _now(self) -> float:
        synchronise(self._device)
        return time.perf_counter()


def stall_values(loader: TurnLoader, clips: int) -> Row:
    """Columns of a run, without its first turns."""
    files, memory = loader.files[1:], loader.memory[1:]
    stalls = [100 * (1 - there / here) for here, there in zip(files, memory, strict=True)]
    return {
        "files_ms": round(1e3 * statistics.median(files), 3),
        "memory_ms": round(1e3 * statistics.median(memory), 3),
        "stall_percent": round(statistics.median(stalls), 2),
        "stall_percent_low": round(min(stalls), 2),
        "stall_percent_high": round(max(stalls), 2),
        "clips_per_s": round(clips / statistics.median(files), 2),
        "turns": len(files),
    }


def forget(paths: Sequence[Path]) -> None:
    """Let the system drop files from its cache, so that the next reader goes to the disk."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)  # what is not written yet would stay
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)
