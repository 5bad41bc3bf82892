"""Turns: one contestant at a time reads whole epochs, and what that takes is noted."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.clips.checks import check
from benchmarks.clips.contestants import Contestant, Feed
from benchmarks.clips.gpu import EngineLoad
from benchmarks.clips.peers import training_planner
from benchmarks.harness.common import described, synchronise
from benchmarks.harness.usage import Usage, gpu_memory, is_doubtful
from tdn.config import Config

Row = dict[str, object]


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 5
    """In which all contestants take turns."""
    seconds: float = 2.0
    """That a turn lasts at least, once it runs; it ends with an epoch."""


@dataclass(frozen=True)
class Turn:
    """What one turn took."""

    clips: int
    bytes: int
    """Of the batches that were fed."""
    used: Usage
    start: float
    """Seconds to the first batch."""
    gpu_memory: int
    """Bytes of the GPU's memory."""
    engines: dict[str, float]
    """Percent of the time that the GPU's engines were busy."""


@dataclass
class Case:
    """One source and one length of clips, with its contestants.

    Args:
        source: of ``data.SOURCES``.
        config: of the training that is fed.
        contestants: who takes part.
        device: "cpu" or "cuda".
    """

    source: str
    config: Config
    contestants: Sequence[Contestant]
    device: str
    _turns: dict[str, list[Turn]] = field(default_factory=dict, init=False)
    _failures: dict[str, Row] = field(default_factory=dict, init=False)
    """Columns of those that are absent, failed or wrong: why."""
    _errors: dict[str, float] = field(default_factory=dict, init=False)

    def __str__(self) -> str:
        return f"{self.source}, {self.config.model.num_segments} segments"

    def measure(self, effort: Effort, end: float) -> list[Row]:
        """Check and time all contestants.

        Args:
            effort: how much to measure.
            end: point in time (``time.monotonic``) after which no further round begins.

        Returns:
            A row for each contestant; where it could not be measured, with the reason instead.
        """
        for contestant in self.contestants:
            self._check(contestant)
        for number in range(effort.rounds):
            if number and time.monotonic() > end:
                break
            # Back and forth, so that nobody always comes after the same one.
            for contestant in self.contestants[:: 1 if number % 2 == 0 else -1]:
                if contestant.name not in self._failures:
                    self._take_turn(contestant, effort.seconds)
        return [self._row(contestant) for contestant in self.contestants]

    def left_out(self, reason: str) -> list[Row]:
        """The rows of a case that is not measured."""
        return [self._place(contestant) | {"left_out": reason} for contestant in self.contestants]

    def _check(self, contestant: Contestant) -> None:
        """Note a contestant's first batch, or why it takes no part."""
        if reason := contestant.absence():
            self._failures[contestant.name] = {"absent": reason}
            return
        with self._attempt(contestant), running(contestant, self.config, self.device) as feed:
            verdict = check(next(iter(feed)), training_planner(self.config).batch(0, 0))
            self._errors[contestant.name] = verdict.error
            if verdict.problem:
                self._failures[contestant.name] = {"wrong": verdict.problem}

    def _take_turn(self, contestant: Contestant, seconds: float) -> None:
        with self._attempt(contestant):
            turn = take_turn(contestant, self.config, self.device, seconds)
            self._turns.setdefault(contestant.name, []).append(turn)

    @contextmanager
    def _attempt(self, contestant: Contestant) -> Iterator[None]:
        """What fails inside is noted."""
        try:
            yield
        except Exception as error:  # whatever a decoder has to say
            self._failures[contestant.name] = {"error": described(error)}

    def _place(self, contestant: Contestant) -> Row:
        """What every row starts with."""
        return {
            "source": self.source,
            "segments": self.config.model.num_segments,
            "contestant": contestant.name,
            "batch_size": self.config.data.batch_size,
            "workers": self.config.data.num_threads,
        }

    def _row(self, contestant: Contestant) -> Row:
        row, name = self._place(contestant), contestant.name
        if name in self._errors:
            row["error_levels"] = round(self._errors[name], 3)
        if name in self._failures:
            return row | self._failures[name]
        return row | summary(self._turns[name], encoded_bytes(self.config))


def take_turn(contestant: Contestant, config: Config, device: str, seconds: float) -> Turn:
    """Start a contestant, let it run warm, and time as many steps as whole epochs have."""
    memory, begin = gpu_memory(device), time.perf_counter()
    with running(contestant, config, device) as feed:
        batches = iter(feed)
        next(batches)
        start = time.perf_counter() - begin
        # What was made ready while nobody took it must not count.
        for _ in itertools.islice(batches, feed.ahead):
            pass
        synchronise(device)
        steps = training_planner(config).steps
        clips = size = 0
        with EngineLoad(device) as engines:
            before = Usage.now()
            while clips == 0 or time.perf_counter() - before.wall < seconds:
                for fed, _ in itertools.islice(batches, steps):
                    clips += len(fed)
                    size += fed.nbytes
            synchronise(device)
            used = Usage.now().since(before)
        memory = gpu_memory(device) - memory
    return Turn(clips, size, used, start, memory, engines.percent)


@contextmanager
def running(contestant: Contestant, config: Config, device: str) -> Iterator[Feed]:
    """A contestant's loader, which ends with the context."""
    feed = contestant.start(config, device)
    try:
        yield feed
    finally:
        feed.close()


def encoded_bytes(config: Config) -> float:
    """Size of a clip on the disk, on average."""
    listed = Path(config.data.train_list)
    paths = [listed.parent / line.split()[0] for line in listed.read_text().splitlines()]
    files = (file for path in paths for file in (path.iterdir() if path.is_dir() else [path]))
    return sum(file.stat().st_size for file in files) / len(paths)


def summary(turns: Sequence[Turn], encoded: float) -> Row:
    """Columns of a contestant's turns: medians, and the slowest and the fastest turn."""
    speeds = [turn.clips / turn.used.wall for turn in turns]
    speed = statistics.median(speeds)
    cpu = statistics.median(turn.used.own / turn.clips for turn in turns)
    output = statistics.median(turn.bytes / turn.clips for turn in turns)
    foreign = statistics.median(turn.used.foreign for turn in turns)
    row: Row = {
        "clips_per_s": round(speed, 2),
        "clips_per_s_low": round(min(speeds), 2),
        "clips_per_s_high": round(max(speeds), 2),
        "cpu_s_per_clip": round(cpu, 5),
        "output_gb_per_s": round(speed * output / 1e9, 4),
        "input_gb_per_s": round(speed * encoded / 1e9, 5),
        "start_s": round(statistics.median(turn.start for turn in turns), 2),
        "turns": len(turns),
        "clips": sum(turn.clips for turn in turns),
        "foreign_cores": round(foreign, 2),
        "doubtful": is_doubtful(foreign),
    }
    if memory := max(turn.gpu_memory for turn in turns):
        row["gpu_memory_mb"] = round(memory / 1e6)
    for engine in turns[0].engines:
        values = [turn.engines[engine] for turn in turns if engine in turn.engines]
        row[f"{engine}_percent"] = round(statistics.median(values))
    return row
