"""Training steps of all peers, in turns; and whether they train the same network."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.common import described, synchronise
from benchmarks.resident import BareStep
from benchmarks.rows import Row
from benchmarks.steps.peers import Peer, Size, make_step, take_turn
from benchmarks.timing import quantiles

STEPS = 4
"""After which losses are compared; they also warm up."""
TOLERANCE = {"fp32": 2e-3, "tf32": 2e-2, "bf16": 5e-2}
"""Largest difference of a loss to the reference, as a part of the first loss."""
PARTS = ("forward", "backward", "update")


@dataclass
class Times:
    """Of every step that counts."""

    ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    """Of the process, all threads."""
    parts: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})


class Contestant:
    """A peer, ready to train."""

    def __init__(self, peer: Peer, size: Size, device: torch.device) -> None:
        self.peer = peer
        self.device = device
        self.times = Times()
        resting = _allocated(device, reset=True)
        self._step = make_step(peer, size, device)
        self.kept_mb = _kept_bytes(self._step) / 1e6
        self.losses = [self._step() for _ in range(STEPS)]
        self.peak_mb = (_allocated(device) - resting) / 1e6 if device.type == "cuda" else None

    def turn(self, steps: int) -> None:
        """Some steps, each of which counts by itself."""
        take_turn(self.peer, self.device)
        for _ in range(steps):
            self._measure()

    def _measure(self) -> None:
        synchronise(self.device.type)
        cpu = time.process_time()
        marks = [self._mark()]
        loss = self._step.forward()
        marks.append(self._mark())
        self._step.backward(loss)
        marks.append(self._mark())
        self._step.update()
        marks.append(self._mark())
        synchronise(self.device.type)
        spent = [_milliseconds(*pair) for pair in pairwise(marks)]
        self.times.cpu_ms.append(1e3 * (time.process_time() - cpu))
        self.times.ms.append(sum(spent))
        for part, ms in zip(PARTS, spent, strict=True):
            self.times.parts[part].append(ms)

    def whole_step(self) -> Tensor:
        """One that does not count."""
        take_turn(self.peer, self.device)
        return self._step()

    def _mark(self) -> float | torch.cuda.Event:
        """A point in time; on a GPU in its own time."""
        if self.device.type == "cpu":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def measure(
    peers: tuple[Peer, ...], size: Size, device: torch.device, rounds: int, steps: int
) -> tuple[list[Row], dict[str, Contestant]]:
    """Set all up, compare their losses, and let them take turns.

    Args:
        peers: The first one is the reference of losses and speed.
        size: Of a step.
        device: Where.
        rounds: Turns of each.
        steps: Of a turn.

    Returns:
        A row for each peer, with "error" or "wrong" in place of times where it has none; and those
        that ran, by name.
    """
    contestants: dict[str, Contestant] = {}
    failures: dict[str, Row] = {}
    for peer in peers:
        try:
            contestant = Contestant(peer, size, device)
        except Exception as error:  # whatever a compiler or a GPU has to say
            failures[peer.name] = {"error": described(error)}
            continue
        contestants[peer.name] = contestant
    reference = contestants.get(peers[0].name)
    for name, contestant in list(contestants.items()):
        if reference is not None and (problem := _disagreement(contestant, reference)):
            failures[name] = {"wrong": problem}
            del contestants[name]
    for _ in range(rounds):
        for contestant in contestants.values():
            contestant.turn(steps)
    rows = []
    for peer in peers:
        row: Row = place(peer, size)
        row |= failures.get(peer.name) or _values(contestants[peer.name], reference, size)
        rows.append(row)
    return rows, contestants


def place(peer: Peer, size: Size) -> Row:
    """What was measured, as columns."""
    return {
        "model": size.model,
        "segments": size.segments,
        "pixels": size.pixels,
        "clips": size.clips,
        "peer": peer.name,
        "precision": peer.precision,
    }


def _values(contestant: Contestant, reference: Contestant | None, size: Size) -> Row:
    times = contestant.times
    middle, low, high = quantiles(times.ms)
    row: Row = {
        "ms": round(middle, 3),
        "ms_low": round(low, 3),
        "ms_high": round(high, 3),
        "cpu_ms": round(statistics.median(times.cpu_ms), 3),
        **{f"{part}_ms": round(statistics.median(times.parts[part]), 3) for part in PARTS},
        "clips_per_s": round(1e3 * size.clips / middle, 3),
        "kept_mb": round(contestant.kept_mb, 1),
        "losses": [round(float(loss), 4) for loss in contestant.losses],
    }
    if contestant.peak_mb is not None:
        row["peak_mb"] = round(contestant.peak_mb, 1)
    if reference is not None:
        row["ratio"] = round(paired(reference.times.ms, times.ms), 4)
        row["cpu_ratio"] = round(paired(reference.times.cpu_ms, times.cpu_ms), 4)
    return row


def paired(theirs: list[float], mine: list[float]) -> float:
    """How many times as fast mine is: the median over steps that were taken in the same round."""
    return statistics.median(a / b for a, b in zip(theirs, mine, strict=True))


def _disagreement(contestant: Contestant, reference: Contestant) -> str | None:
    """How losses differ, if they do by more than rounding."""
    most = TOLERANCE[contestant.peer.precision] * abs(float(reference.losses[0]))
    for step, (mine, theirs) in enumerate(
        zip(contestant.losses, reference.losses, strict=True), start=1
    ):
        if not abs(float(mine) - float(theirs)) <= most:
            return f"loss {float(mine):.4f} in step {step}, the reference has {float(theirs):.4f}"
    return None


def _kept_bytes(step: BareStep) -> int:
    """What a forward pass keeps for the backward pass, but for the parameters.

    A measure of memory that does not depend on the device. Compiled networks keep it out of sight:
    of them it says what autograd sees.
    """
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = step.forward()
    del loss
    return sum(sizes.values())


def _allocated(device: torch.device, reset: bool = False) -> int:
    """Most bytes of the GPU's memory that were in use; from now on if asked to reset."""
    if device.type == "cpu":
        return 0
    torch.cuda.synchronize()
    if reset:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    return torch.cuda.max_memory_allocated()


def _milliseconds(begin: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    if isinstance(begin, torch.cuda.Event):
        return begin.elapsed_time(end)  # type: ignore[arg-type]
    return 1e3 * (end - begin)  # type: ignore[operator]
