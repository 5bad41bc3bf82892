"""Training steps on some of the processes at hand, in turns.

All processes that ``torchrun`` started go through all of this; those that have no part in a case
wait for its end.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple

import torch.distributed as dist

from benchmarks.harness.common import progress, synchronise
from benchmarks.harness.resident_step import BareStep, configured_step, resident_batch
from tdn.config import Config
from tdn.training.processes.distributed import Processes

WARM_UP = 3
"""Steps."""


@dataclass(frozen=True)
class Case:
    """Some of the processes, and the clips that each of them takes in a step."""

    scaling: Literal["weak", "strong"]
    """weak: as many clips a process as one alone takes; strong: as many in all."""
    processes: int
    clips: int


class Split(NamedTuple):
    """The parts of a step, in seconds; they are waited for one by one, which costs time."""

    forward: float
    backward: float
    """With averaging of gradients, where processes do that."""
    update: float


@dataclass
class Turns:
    """Seconds of a step in every round, by the slowest of the processes that took part."""

    together: list[float] = field(default_factory=list)
    """They average their gradients."""
    apart: list[float] = field(default_factory=list)
    """All at work, but each for itself: what they take from each other but time."""
    splits: dict[str, list[Split]] = field(default_factory=lambda: {"together": [], "apart": []})
    """Of one more step in every round."""


@dataclass(frozen=True)
class Work:
    """Of a process that waits for nobody. Seconds."""

    alone: float
    """A step while the others rest."""
    step: float
    """A step while all others are at work, too."""
    backward: float
    """Of that, the backward pass."""
    spread: float
    """Standard deviation from step to step; what is far off the usual does not count."""
    gradient_bytes: int


def cases(world_size: int, clips: int) -> list[Case]:
    """One process, two, four and so on, and all; strong scaling where the clips can be divided."""
    counts = sorted({*(1 << power for power in range(world_size.bit_length())), world_size})
    weak = [Case("weak", count, clips) for count in counts]
    divisible = [count for count in counts[1:] if clips % count == 0]
    return weak + [Case("strong", count, clips // count) for count in divisible]


def measure(
    config: Config, place: Processes, rounds: int, steps: int
) -> tuple[dict[Case, Turns], Work]:
    """Let all cases take turns.

    Args:
        config: ``model``, ``optimizer``, ``data.batch_size`` (of a process) and
            ``training.precision`` count.
        place: This process's among all.
        rounds: Turns of every case that count; one more warms up.
        steps: Of a turn.

    Returns:
        The turns of every case, and what one process does; the same on all processes.
    """
    found = {case: Turns() for case in cases(place.world_size, config.data.batch_size)}
    crews = {case: _Crew(case, config, place) for case in found}
    for number in range(rounds + 1):
        for case, crew in crews.items():
            for kind, step in crew.steps.items():
                # The answers are also what the next turn waits for.
                slowest = max(place.gather(crew.seconds_of(step, steps)))
                splits = place.gather(crew.split_of(step))
                if number:
                    getattr(found[case], kind).append(slowest)
                    found[case].splits[kind].append(Split(*map(max, zip(*splits, strict=True))))
        if place.is_main:
            progress(f"round {number} of {rounds}")
    return found, _work(config, place, rounds * steps)


class _Crew:
    """The processes of a case, ready to step. All processes must make one."""

    def __init__(self, case: Case, config: Config, place: Processes) -> None:
        self._device = place.device.type
        self.steps: dict[str, BareStep | None] = {"together": None, "apart": None}
        group = dist.new_group(list(range(case.processes)))
        if place.rank >= case.processes:
            return
        data = dataclasses.replace(config.data, batch_size=case.clips)
        given = dataclasses.replace(config, data=data), place.device
        batch = resident_batch(*given)
        mine = dataclasses.replace(place, world_size=case.processes)
        self.steps["together"] = configured_step(given[0], batch, given[1], mine, group)
        self.steps["apart"] = configured_step(given[0], batch, given[1])

    def seconds_of(self, step: BareStep | None, steps: int) -> float:
        """Of a step in a turn; 0 for a process that has no part in it."""
        if step is None:
            return 0.0
        synchronise(self._device)
        began = time.perf_counter()
        for _ in range(steps):
            step()
        synchronise(self._device)
        return (time.perf_counter() - began) / steps

    def split_of(self, step: BareStep | None) -> Split:
        """Of a step; all 0 for a process that has no part in it."""
        return Split(0.0, 0.0, 0.0) if step is None else _split(step, self._device)


def _work(config: Config, place: Processes, steps: int) -> Work:
    """The main process alone, then all at once, each for itself; the median over processes."""
    step = configured_step(config, resident_batch(config, place.device), place.device)
    _times(step, place, WARM_UP)
    alone = place.from_main(statistics.median(_times(step, place, steps)) if place.is_main else 0.0)
    mine = _times(step, place, steps)
    found = place.gather((statistics.median(mine), _backward_share(step, place), spread(mine)))
    work, share, deviation = (statistics.median(values) for values in zip(*found, strict=True))
    return Work(alone, work, work * share, deviation, step.gradient_bytes)


def _times(step: BareStep, place: Processes, steps: int) -> list[float]:
    """Of whole steps."""
    times = []
    for _ in range(steps):
        began = _now(place.device.type)
        step()
        times.append(_now(place.device.type) - began)
    return times


def _backward_share(step: BareStep, place: Processes) -> float:
    """Of a step."""
    splits = [_split(step, place.device.type) for _ in range(WARM_UP)]
    return statistics.median(split.backward / sum(split) for split in splits)


def _split(step: BareStep, device: str) -> Split:
    times = [_now(device)]
    loss = step.forward()
    times.append(_now(device))
    step.backward(loss)
    times.append(_now(device))
    step.update()
    times.append(_now(device))
    return Split(*(end - begin for begin, end in pairwise(times)))


def _now(device: str) -> float:
    synchronise(device)
    return time.perf_counter()


def spread(times: list[float]) -> float:
    """Standard deviation, from the quartiles as if the times were normally distributed."""
    if len(times) == 1:
        return 0.0
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return (high - low) / 1.349
