"""What a stalled run says: where every process stands, who holds up the others, and why."""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tdn.training.processes.distributed import Processes
from tdn.training.processes.whereabouts import DATA, TOGETHER


@dataclass(frozen=True)
class Stand:
    """Where one process stands."""

    rank: int
    host: str
    process: int
    step: int
    phase: str
    seconds: float
    """In this phase of this step."""
    stacks: str
    """Of all its threads."""

    def to_json(self) -> str:
        """As text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Stand:
        """From the text of ``to_json``."""
        return cls(**json.loads(text))


def own_stand(processes: Processes) -> Stand:
    """Where this process stands; called by another thread than its main one."""
    step, phase, since = processes.whereabouts.now
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        stacks = file.read()
    return Stand(
        rank=processes.rank,
        host=platform.node(),
        process=os.getpid(),
        step=step,
        phase=phase,
        seconds=time.monotonic() - since,
        stacks=stacks,
    )


def describe(stands: Sequence[Stand | None]) -> str:
    """A line for every process, and one that says what to look at.

    Args:
        stands: By rank; None for a process that did not answer.
    """
    lines = []
    for rank, stand in enumerate(stands):
        if stand is None:
            lines.append(f"  process {rank}: no answer")
        else:
            lines.append(
                f"  process {rank} ({stand.host}, {stand.process}): after step {stand.step}, "
                f"{stand.phase} for {stand.seconds:.0f} s"
            )
    return "\n".join((*lines, verdict(stands)))


def verdict(stands: Sequence[Stand | None]) -> str:
    """Who holds up the others, and what to look at."""
    silent = [rank for rank, stand in enumerate(stands) if stand is None]
    if silent:
        return (
            f"{_names(silent)} did not answer: stopped, out of memory, or its machine is out of "
            "reach"
        )
    found = [stand for stand in stands if stand is not None]
    waiting = [stand.rank for stand in found if stand.phase == DATA]
    if waiting:
        return (
            f"{_names(waiting)} waited for data: look at the storage and at data.num_threads; "
            "the network is not to blame"
        )
    if len(found) == 1:
        return f"process 0 did not get on with: {found[0].phase}, see its stacks"
    first = min(stand.step for stand in found)
    behind = [stand.rank for stand in found if stand.step == first]
    if len(behind) < len(found):
        return f"out of step: {_names(behind)} stood behind the others, see the stacks there"
    busy = [stand for stand in found if stand.phase not in TOGETHER]
    if busy:
        names = _names([stand.rank for stand in busy])
        return f"{names} did not get on with: {', '.join(sorted({s.phase for s in busy}))}"
    return (
        "all processes waited for each other: look at the network between them (NCCL_DEBUG=INFO "
        "says more)"
    )


def stacks_of(stands: Sequence[Stand | None]) -> str:
    """Everybody's stacks, for a file."""
    return "\n".join(
        f"process {stand.rank} ({stand.host}, {stand.process}): after step {stand.step}, "
        f"{stand.phase}\n{stand.stacks}"
        for stand in stands
        if stand is not None
    )


def _names(ranks: Sequence[int]) -> str:
    listed = ", ".join(map(str, ranks[:8])) + (", ..." if len(ranks) > 8 else "")
    return f"process{'es' if len(ranks) > 1 else ''} {listed}"
