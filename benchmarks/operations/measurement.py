"""Everything that is measured of one operation and size: a row for every mode and peer."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch

from benchmarks.harness.common import described
from benchmarks.harness.timing import Clock, quantiles
from benchmarks.operations.accuracy import Accuracy, accuracy, expected
from benchmarks.operations.catalogue import Operation, Size
from benchmarks.operations.contestants import (
    GRAPHS,
    OURS,
    PEERS,
    Contestant,
    GraphContestant,
    Peer,
    Sample,
    new_operation,
    new_samples,
    plain_name,
)
from benchmarks.operations.launches import Counts, Job, Launches
from benchmarks.operations.turns import (
    Effort,
    Times,
    peak_bytes,
    runs_of_a_batch,
    take_times,
)

Row = dict[str, object]
Result = TypeVar("Result")
SMALL = 16
"""Megabytes of features up to which launches count more than bytes: CUDA graphs are measured."""
NO_COMPILER = "torch.compile is left out on a CPU"
NO_GRAPHS = "CUDA graphs take a GPU"


class Case:
    """An operation of one size, with its contestants.

    Args:
        operation: what to measure.
        size: of its features.
    """

    def __init__(self, operation: type[Operation], size: Size) -> None:
        self.operation = operation
        self.size = size
        kinds = operation(size, torch.float32).functions()
        small = operation.graphs and size.megabytes <= SMALL
        self.peers = [
            peer
            for peer in (*PEERS, *(GRAPHS if small else ()))
            if peer.kind in kinds and peer.layout in operation.layouts
        ]
        self._contestants: dict[str, Contestant] = {}
        self._accuracies: dict[str, Accuracy] = {}
        self._failures: dict[str, Row] = {}
        """Columns "error" or "left_out" of those who are not among the contestants."""

    def __str__(self) -> str:
        return f"{self.operation.name} {self.size}, {self.size.clips} clips"

    def jobs(self, device: str) -> list[Job]:
        """What can be done ahead."""
        return [self._job(peer, device) for peer in self.peers if not peer.graph]

    def _job(self, peer: Peer, device: str) -> Job:
        return Job(device, self.operation, self.size, peer)

    def measure(self, clock: Clock, effort: Effort, launches: Counts) -> list[Row]:
        """Set up, check and time all peers.

        Args:
            clock: of the device.
            effort: how much to measure.
            launches: found ahead, by job and mode.

        Returns:
            A row for every mode and peer, with "error" or "left_out" instead of times where a peer
            failed or cannot be.
        """
        torch.compiler.reset()
        self._set_up(clock.device)
        rows = []
        for mode in self.operation.modes:
            peaks, times = self._time(mode, clock, effort)
            for row, peer in self._rows(mode):
                name = peer.name
                if name in self._failures:
                    rows.append(row | self._failures[name])
                    continue
                row |= self._speed(name, mode, times[name], clock.copy)
                peak = peaks[name]
                row["peak_mb"] = None if peak is None else round(peak / 1e6, 1)
                counts = launches.get(self._job(peer, clock.device), {})
                row |= _launch_columns(counts.get(mode), listed=peer.kind == OURS.kind)
                row |= _accuracy_columns(self._accuracies[name], mode)
                rows.append(row)
        self._contestants.clear()  # the memory of their samples is the next case's
        return rows

    def left_out(self, reason: str) -> list[Row]:
        """The rows of a case that is not measured."""
        every = (pair for mode in self.operation.modes for pair in self._rows(mode))
        return [row | {"left_out": reason} for row, _ in every]

    def _rows(self, mode: str) -> list[tuple[Row, Peer]]:
        """Peers of a mode, and what their rows start with."""
        return [
            (
                {
                    "operation": self.operation.name,
                    "shape": str(self.size),
                    "clips": self.size.clips,
                    "segments": self.size.segments,
                    "features_mb": round(self.size.megabytes, 2),
                    "mode": mode,
                    "peer": peer.name,
                    "dtype": str(peer.dtype).removeprefix("torch."),
                    "layout": str(peer.layout).removeprefix("torch."),
                },
                peer,
            )
            for peer in self.peers
            if self._takes_part(peer, mode)
        ]

    def _takes_part(self, peer: Peer, mode: str) -> bool:
        """A graph holds all there is to do."""
        return not peer.graph or mode == self.operation.modes[-1]

    def _attempt(self, name: str, work: Callable[[], Result]) -> Result | None:
        """Do some of a contestant's work; if that fails, note it and go on without."""
        try:
            return work()
        except Exception as error:  # whatever a compiler or a GPU has to say
            self._failures[name] = {"error": described(error)}
            self._contestants.pop(name, None)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return None

    def _set_up(self, device: str) -> None:
        """Make the contestants, and check each."""
        try:
            right = expected(self.operation, self.size, device)
        except Exception as error:  # most likely float64 does not fit
            reason = f"no reference to check by: {described(error)}"
            self._failures = {peer.name: {"error": reason} for peer in self.peers}
            return
        samples: dict[tuple[torch.dtype, torch.memory_format], list[Sample]] = {}

        def contestant(peer: Peer) -> Contestant:
            if peer.graph:
                return GraphContestant(self._contestants[plain_name(peer)], peer)
            made = new_operation(self.operation, self.size, peer.dtype, peer.layout, device)
            key = peer.dtype, peer.layout
            if key not in samples:
                samples[key] = new_samples(made, peer.layout, device)
            return Contestant(peer, made, samples[key])

        for peer in self.peers:
            name = peer.name
            if device == "cpu" and (peer.compiled or peer.graph):
                self._failures[name] = {"left_out": NO_GRAPHS if peer.graph else NO_COMPILER}
            elif plain_name(peer) in self._failures:
                self._failures[name] = self._failures[plain_name(peer)]
            elif (made := self._attempt(name, partial(contestant, peer))) is not None:
                self._contestants[name] = made
                found = self._attempt(name, partial(accuracy, made, right))
                if found is not None:
                    self._accuracies[name] = found

    def _time(
        self, mode: str, clock: Clock, effort: Effort
    ) -> tuple[dict[str, int | None], dict[str, Times]]:
        """Peak bytes, and times of every round, by contestant."""
        peaks: dict[str, int | None] = {}
        runs: dict[str, int] = {}

        def warm_up(name: str, contestant: Contestant) -> None:
            peaks[name] = peak_bytes(contestant, mode)
            runs[name] = runs_of_a_batch(clock, contestant, mode, peaks[name], effort)

        present = {n: c for n, c in self._contestants.items() if self._takes_part(c.peer, mode)}
        for name, contestant in present.items():
            self._attempt(name, partial(warm_up, name, contestant))
        times = {name: Times() for name in runs}
        for _ in range(effort.rounds):
            for name in [name for name in times if name in self._contestants]:
                given = (clock, present[name], mode, runs[name], times[name])
                self._attempt(name, partial(take_times, *given))
        return peaks, times

    def _speed(self, name: str, mode: str, times: Times, copy: float) -> Row:
        """Columns of time and bandwidth."""
        contestant = self._contestants[name]
        ideal = contestant.operation.ideal_bytes(contestant.samples[0].inputs)[mode]
        speed = ideal / statistics.median(times.gpu or times.called) / 1e6
        return {
            **_quantile_columns("ms", times.called),
            **_quantile_columns("gpu_ms", times.gpu),
            "ideal_mb": round(ideal / 1e6, 2),
            "gb_per_s": round(speed, 1),
            "percent_of_copy": round(100 * speed / copy, 1),
        }


def _quantile_columns(name: str, times: list[float]) -> Row:
    """Median, 20 % and 80 % quantile, if there are times."""
    found: tuple[float | None, ...] = (None, None, None)
    if times:
        found = tuple(round(v, 5) for v in quantiles(times))
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))


def _launch_columns(found: Launches | None, listed: bool) -> Row:
    """Nothing of graphs, which are one launch, and where none were counted."""
    if found is None:
        return dict.fromkeys(("launches_convs", "launches_others", "launches_memory"))
    row: Row = {
        "launches_convs": found.convs,
        "launches_others": found.others,
        "launches_memory": found.memory,
    }
    return row | ({"launched": list(found.names)} if listed else {})


def _accuracy_columns(found: Accuracy, mode: str) -> Row:
    """Of results in a forward pass, of gradients in a backward pass, of both in both."""
    row: Row = {}
    if mode != "backward":
        row["result_error"] = float(f"{found.result:.2e}")
    if mode != "forward" and found.gradient is not None:
        row |= {
            "gradient_error": float(f"{found.gradient:.2e}"),
            "gradient_error_of": found.part,
        }
    return row | {"right": found.is_right}
