"""A peer that trains: set up, warm, and timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.harness.common import synchronise
from benchmarks.harness.usage import Usage
from benchmarks.steps.losses import STEPS
from benchmarks.steps.memory import allocated, graph_pools, kept_bytes, peak
from benchmarks.steps.peers import StepPeer, StepSize, make_step, take_turn

WARM_UP = {"cuda": STEPS, "cpu": 2}
"""Steps that compile, choose among a library's algorithms, and record graphs. On a GPU their losses
are judged as well."""
SPLITS = 3
"""Rounds in which steps are split, too."""
PARTS = ("forward", "backward", "update")


@dataclass
class StepTimes:
    """A value for each turn; of the parts, for each step that was split."""

    ms: list[float] = field(default_factory=list)
    """Of a step."""
    cpu_ms: list[float] = field(default_factory=list)
    """Of a step, all threads of the process. Nothing on a GPU: there the process also spins."""
    foreign: list[float] = field(default_factory=list)
    """Cores that others kept busy."""
    parts: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})


class Trainee:
    """A peer, ready to train.

    Args:
        peer: Who.
        size: Of a step.
        device: Where.
    """

    def __init__(self, peer: StepPeer, size: StepSize, device: torch.device) -> None:
        self.peer = peer
        self.device = device
        self.times = StepTimes()
        resting = allocated(device)
        pools = graph_pools() if device.type == "cuda" else 0
        self._step = make_step(peer, size, device)
        self.losses = [float(self._step()) for _ in range(WARM_UP[device.type])]
        self.memory_mb: dict[str, float] = {}
        """By column: what the forward pass keeps; on a GPU the most that a step has in use once it
        runs, weights and batch included, or what its graphs have for themselves."""
        if not peer.compile:
            self.memory_mb["kept_mb"] = kept_bytes(self._step) / 1e6
        if device.type == "cuda":
            if peer.graphs:
                self.memory_mb["graph_pool_mb"] = (graph_pools() - pools) / 1e6
            else:
                self.memory_mb["peak_mb"] = (peak(self._step) - resting) / 1e6

    @property
    def gradient_bytes(self) -> int:
        """That several processes would exchange in a step."""
        return self._step.gradient_bytes

    def turn(self, steps: int) -> None:
        """Some steps in one go. On a GPU there is work ahead of them, as there is in training."""
        take_turn(self.peer, self.device)
        synchronise(self.device.type)
        before = Usage.now()
        if self.device.type == "cuda":
            self._step()
        cpu, begin = time.process_time(), self._mark()
        for _ in range(steps):
            self._step()
        end, cpu = self._mark(), time.process_time() - cpu
        synchronise(self.device.type)
        self.times.ms.append(_milliseconds(begin, end) / steps)
        if self.device.type == "cpu":
            self.times.cpu_ms.append(1e3 * cpu / steps)
        self.times.foreign.append(Usage.now().since(before).foreign)

    def split_turn(self, steps: int) -> None:
        """Some steps whose parts are timed; that they are marked may cost them time."""
        take_turn(self.peer, self.device)
        if self.device.type == "cuda":
            self._step()
        marks = [self._split_step() for _ in range(steps)]
        synchronise(self.device.type)
        for step in marks:
            for part, pair in zip(PARTS, pairwise(step), strict=True):
                self.times.parts[part].append(_milliseconds(*pair))

    def whole_step(self) -> Tensor:
        """One that does not count."""
        take_turn(self.peer, self.device)
        return self._step()

    def _split_step(self) -> list[float | torch.cuda.Event]:
        marks = [self._mark()]
        loss = self._step.forward()
        marks.append(self._mark())
        self._step.backward(loss)
        marks.append(self._mark())
        self._step.update()
        return [*marks, self._mark()]

    def _mark(self) -> float | torch.cuda.Event:
        """A point in time; on a GPU in its own time."""
        if self.device.type == "cpu":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def take_turns(
    trainees: list[Trainee],
    rounds: int,
    steps: int,
    go_on: Callable[[int], object] = lambda _: True,
    splits: int = SPLITS,
) -> None:
    """Rounds in which everybody has a turn, in the order of ``in_turn``.

    Args:
        trainees: Who takes part.
        rounds: At most.
        steps: Of a turn.
        go_on: Asked before each round, with how many there were.
        splits: Rounds with a further turn whose steps are split.
    """
    for number in range(rounds):
        if not go_on(number):
            break
        for trainee in in_turn(trainees, number):
            trainee.turn(steps)
            if number < splits:
                trainee.split_turn(steps)


def in_turn(trainees: list[Trainee], number: int) -> list[Trainee]:
    """The order of a round, from 0: each is begun by another one, back and forth."""
    first = number // 2 % max(1, len(trainees))
    order = trainees[first:] + trainees[:first]
    return order[:: 1 if number % 2 == 0 else -1]


def _milliseconds(begin: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    if isinstance(begin, torch.cuda.Event):
        return begin.elapsed_time(end)  # type: ignore[arg-type]
    return 1e3 * (end - begin)  # type: ignore[operator]
