"""Training steps of peers in turns, and a row for each of them."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from benchmarks.harness.common import described
from benchmarks.harness.rows import Row
from benchmarks.harness.timing import quantiles
from benchmarks.harness.usage import is_doubtful
from benchmarks.steps.launches import gpu_values
from benchmarks.steps.limits import Budget, limited
from benchmarks.steps.losses import LossCheck
from benchmarks.steps.peers import StepPeer, StepSize
from benchmarks.steps.trainee import PARTS, SPLITS, Trainee, in_turn

LEAST_ROUNDS = 3
"""Even where time is short."""
NO_TIME = "the time was up"


@dataclass
class Race:
    """Peers of one size.

    Args:
        size: Of a step.
        device: Where.
        options: "rounds" and "steps" of a turn.
        check: Of their losses.
    """

    size: StepSize
    device: torch.device
    options: argparse.Namespace
    check: LossCheck
    _trainees: dict[str, Trainee] = field(default_factory=dict, init=False)
    """By peer: those that take turns,"""
    _failures: dict[str, Row] = field(default_factory=dict, init=False)
    """and why others have no times."""

    def rows(
        self, peers: Sequence[StepPeer], budget: Budget, needed: Collection[str] = ()
    ) -> Iterator[list[Row]]:
        """Set all up for whom there is time, compare their losses, and let them take turns.

        Args:
            peers: The first one is the reference of speed.
            budget: Nobody is set up, and no round but the first ones begins, when it is over.
            needed: Names of peers that are set up all the same.

        Yields:
            A row for each peer, with "error", "wrong" or "left_out" where it has no times: before
            the first round, after each, and at the end with what the profiler says.
        """
        self._trainees, self._failures = {}, {}
        yield self._so_far(peers)
        for peer in peers:
            if budget.left < 0 and peer.name not in needed:
                self._failures[peer.name] = {"left_out": NO_TIME}
            elif (trainee := self._set_up(peer, budget)) is not None:
                self._trainees[peer.name] = trainee
        for number in range(self.options.rounds):
            if number >= LEAST_ROUNDS and budget.left < 0:
                break
            for trainee in in_turn([*self._trainees.values()], number):
                self._take_turn(trainee, number)
            yield self._so_far(peers)
        rows = self._so_far(peers)
        if self.device.type == "cuda":
            for row, peer in zip(rows, peers, strict=True):
                if peer.name in self._trainees:
                    row |= _profiled(self._trainees[peer.name])
        yield rows
        self._trainees = {}

    def _take_turn(self, trainee: Trainee, number: int) -> None:
        """One that fails, most likely for memory, takes part no more; the others go on."""
        try:
            trainee.turn(self.options.steps)
            if number < SPLITS:
                trainee.split_turn(self.options.steps)
        except Exception as error:  # whatever a GPU has to say
            self._failures[trainee.peer.name] = {"error": described(error)}
            del self._trainees[trainee.peer.name]

    def _so_far(self, peers: Sequence[StepPeer]) -> list[Row]:
        """Rows as the turns so far make them."""
        reference = self._trainees.get(peers[0].name)
        rows = []
        for peer in peers:
            values = self._failures.get(peer.name, {"left_out": NO_TIME})
            if (trainee := self._trainees.get(peer.name)) is not None and trainee.times.ms:
                values = step_values(trainee, self.size) | comparison(trainee, reference)
                values |= {"loss_clips": self.check.size.clips}
                values |= {"loss_pixels": self.check.size.pixels}
            rows.append(place(peer, self.size) | values)
        return rows

    def _set_up(self, peer: StepPeer, budget: Budget) -> Trainee | None:
        """A trainee whose losses are right; else why there is none is noted."""
        if failure := self.check.failure():
            self._failures[peer.name] = {"error": failure}
            return None
        try:
            if not peer.compile:
                return self._judged(peer)
            with limited(budget.left):
                return self._judged(peer)
        except Exception as error:  # whatever a compiler or a GPU has to say
            self._failures[peer.name] = {"error": described(error)}
            return None

    def _judged(self, peer: StepPeer) -> Trainee | None:
        """On a GPU the first steps of the trainee itself are judged, if the sizes are the same."""
        trainee = Trainee(peer, self.size, self.device)
        if self.device.type == "cpu" or self.check.size != self.size:
            trainee.losses = self.check.losses(peer)
        if problem := self.check.problem(trainee.losses, peer.precision):
            self._failures[peer.name] = {"wrong": problem}
            return None
        return trainee


def _profiled(trainee: Trainee) -> Row:
    """What the profiler says; that it fails costs no times."""
    try:
        return gpu_values(trainee.whole_step)
    except Exception as error:  # whatever the driver has to say
        return {"profiler": described(error)}


def place(peer: StepPeer, size: StepSize) -> Row:
    """What was measured, as columns."""
    return {
        "model": size.model,
        "segments": size.segments,
        "pixels": size.pixels,
        "clips": size.clips,
        "peer": peer.name,
        "precision": peer.precision,
    }


def step_values(trainee: Trainee, size: StepSize) -> Row:
    """Columns of times and memory."""
    times = trainee.times
    middle, low, high = quantiles(times.ms)
    foreign = statistics.median(times.foreign)
    row: Row = {
        "ms": round(middle, 3),
        "ms_low": round(low, 3),
        "ms_high": round(high, 3),
        "rounds": len(times.ms),
        **{
            f"{part}_ms": round(statistics.median(times.parts[part]), 3)
            for part in PARTS
            if times.parts[part]
        },
        "clips_per_s": round(1e3 * size.clips / middle, 3),
        **{name: round(mb, 1) for name, mb in trainee.memory_mb.items()},
        "gradient_mb": round(trainee.gradient_bytes / 1e6, 3),
        "foreign_cores": round(foreign, 2),
        "doubtful": is_doubtful(foreign),
    }
    if times.cpu_ms:
        row["cpu_ms"] = round(statistics.median(times.cpu_ms), 3)
    return row


def comparison(trainee: Trainee, reference: Trainee | None) -> Row:
    """Columns of the losses, and of how many times as fast the trainee is as the reference."""
    row: Row = {"losses": [round(loss, 4) for loss in trainee.losses]}
    if reference is None:
        return row
    pairs = [("ratio", "ms")] + [("cpu_ratio", "cpu_ms")] * bool(trainee.times.cpu_ms)
    for name, kind in pairs:
        theirs, mine = getattr(reference.times, kind), getattr(trainee.times, kind)
        found = quantiles([a / b for a, b in zip(theirs, mine, strict=True)])
        columns = (name, f"{name}_low", f"{name}_high")
        row |= {column: round(value, 4) for column, value in zip(columns, found, strict=True)}
    return row
