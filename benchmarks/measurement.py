"""Everything that is measured of one operation and size: a row for every mode and peer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from benchmarks.accuracy import Accuracy, accuracy, expected
from benchmarks.contestants import (
    GRAPH,
    GRAPHS,
    PEERS,
    Contestant,
    GraphContestant,
    Peer,
    Sample,
    new_operation,
    new_samples,
)
from benchmarks.launches import Job, Launches
from benchmarks.operations import Operation, Size
from benchmarks.timing import Effort, batch, peak_bytes, quantiles, runs_of_a_batch

Row = dict[str, object]
Result = TypeVar("Result")
SMALL = 16
"""Megabytes of features up to which launches count more than bytes: CUDA graphs are measured."""
NO_COMPILER = "torch.compile is left out on a CPU"
NO_GRAPHS = "CUDA graphs take a GPU"


@dataclass(frozen=True)
class Machine:
    """Where and how long to measure."""

    device: str
    """cpu or cuda."""
    copy: float
    """GB/s of a copy."""
    effort: Effort


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

    def measure(self, machine: Machine, launches: dict[Job, dict[str, Launches]]) -> list[Row]:
        """Set up, check and time all peers.

        Args:
            machine: where and how long.
            launches: found ahead, by job and mode.

        Returns:
            A row for every mode and peer, with "error" or "left_out" instead of times where a peer
            failed or cannot be.
        """
        torch.compiler.reset()
        self._set_up(machine.device)
        rows = []
        for mode in self.operation.modes:
            peaks, times = self._time(mode, machine.effort)
            for row, peer in self._rows(mode):
                name = peer.name
                if name in self._failures:
                    rows.append(row | self._failures[name])
                    continue
                row |= self._speed(name, mode, times[name], machine.copy)
                peak = peaks[name]
                row["peak_mb"] = None if peak is None else round(peak / 1e6, 1)
                row |= _launch_columns(launches.get(self._job(peer, machine.device)), mode)
                row |= _accuracy_columns(self._accuracies[name], mode)
                rows.append(row)
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
            first = (str(error).strip().splitlines() or [""])[0]
            self._failures[name] = {"error": f"{type(error).__name__}: {first}"[:300]}
            self._contestants.pop(name, None)
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            return None

    def _set_up(self, device: str) -> None:
        """Make the contestants, and check each."""
        right = expected(self.operation, self.size, device)
        samples: dict[tuple[torch.dtype, torch.memory_format], list[Sample]] = {}

        def contestant(peer: Peer) -> Contestant:
            if peer.graph:
                return GraphContestant(self._contestants[peer.name.removesuffix(GRAPH)], peer)
            made = new_operation(self.operation, self.size, peer.dtype, peer.layout, device)
            key = peer.dtype, peer.layout
            if key not in samples:
                samples[key] = new_samples(made, peer.layout, device)
            return Contestant(peer, made, samples[key])

        for peer in self.peers:
            if device == "cpu" and (peer.compiled or peer.graph):
                reason = NO_GRAPHS if peer.graph else NO_COMPILER
                self._failures[peer.name] = {"left_out": reason}
                continue
            made = self._attempt(peer.name, lambda p=peer: contestant(p))
            if made is not None:
                self._contestants[peer.name] = made
                found = self._attempt(peer.name, lambda m=made: accuracy(m, right))
                if found is not None:
                    self._accuracies[peer.name] = found

    def _time(
        self, mode: str, effort: Effort
    ) -> tuple[dict[str, int | None], dict[str, list[float]]]:
        """Peak bytes and milliseconds of every round, by contestant."""
        peaks: dict[str, int | None] = {}
        runs: dict[str, int] = {}

        def warm_up(name: str, contestant: Contestant) -> None:
            peaks[name] = peak_bytes(contestant, mode)
            runs[name] = runs_of_a_batch(contestant, mode, peaks[name], effort)

        present = {n: c for n, c in self._contestants.items() if self._takes_part(c.peer, mode)}
        for name, contestant in present.items():
            self._attempt(name, lambda n=name, c=contestant: warm_up(n, c))
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(effort.rounds):
            for name in times.keys() & self._contestants.keys():
                contestant = present[name]
                ms = self._attempt(name, lambda n=name, c=contestant: batch(c, mode, runs[n]))
                times[name] += [] if ms is None else [ms]
        return peaks, times

    def _speed(self, name: str, mode: str, times: list[float], copy: float) -> Row:
        """Columns of time and bandwidth."""
        contestant = self._contestants[name]
        inputs = contestant.samples[0].inputs
        ideal = contestant.operation.ideal_bytes(inputs)[mode]
        median, low, high = quantiles(times)
        speed = ideal / median / 1e6
        return {
            "ms": round(median, 5),
            "ms_20": round(low, 5),
            "ms_80": round(high, 5),
            "ideal_mb": round(ideal / 1e6, 2),
            "gb_per_s": round(speed, 1),
            "percent_of_copy": round(100 * speed / copy, 1),
        }


def _launch_columns(launches: dict[str, Launches] | None, mode: str) -> Row:
    """Nothing of graphs, which are one launch, and where none were counted."""
    if launches is None:
        return {"launches_convs": None, "launches_others": None, "launches_memory": None}
    found = launches[mode]
    return {
        "launches_convs": found.convs,
        "launches_others": found.others,
        "launches_memory": found.memory,
        "launched": list(found.names),
    }


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
