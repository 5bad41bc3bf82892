"""The process of a GPU, or of some CPU cores: measures its device and its links.

    python -m tdn.preflight.worker

It loads torch, then reads from its input what to do: a line of JSON, ``Plan``. It ends when its
input does, and so with the process that has started it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from tdn.doctor import driver
from tdn.preflight import devices
from tdn.preflight.deadline import in_time
from tdn.preflight.links import Team, measure_pairs, measure_sums
from tdn.training.processes.board import Board


@dataclass(frozen=True)
class Plan:
    """What the processes are to measure, and where they meet."""

    backend: str
    """nccl or gloo."""
    host: str
    port: int
    prefix: str
    """Of what is theirs in the store there."""
    names: Sequence[str]
    """Of the nodes."""
    processes: Sequence[int]
    """Of each node."""
    seconds: float
    """For all of it."""
    node: int = 0
    place: int = 0
    """Which of them this is."""

    def to_json(self) -> str:
        """As a line of text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """From the text of ``to_json``."""
        return cls(**json.loads(text))

    @property
    def team(self) -> Team:
        """The processes."""
        on_gpu = self.backend == "nccl"
        device = torch.device("cuda", self.place) if on_gpu else torch.device("cpu")
        return Team(tuple(self.processes), self.node, self.place, device)


def measure(plan: Plan, store: dist.Store) -> dict[str, Any]:
    """Measure this process's device and links, with all others.

    Args:
        plan: What to do.
        store: Where the processes meet, and where each tells what it is at ("stand RANK").

    Returns:
        ``device`` (``DeviceSpeed``), ``slowed`` (by GPU of the node, why its clocks are held
        back; from the first process of a node only), ``pairs`` (``PairTime``) and ``sums``
        (``SumTime``), as JSON takes them.
    """
    team, board = plan.team, Board(store)

    def say(step: int, text: str) -> None:
        board.write(f"stand {team.rank}", json.dumps([step, text]))

    say(0, "meeting the other processes")
    if team.device.type == "cuda":
        torch.cuda.set_device(team.device)
    dist.init_process_group(
        plan.backend,
        store=dist.PrefixStore("links", store),
        rank=team.rank,
        world_size=sum(team.processes),
        timeout=timedelta(seconds=plan.seconds),
    )
    dist.barrier()
    say(1, "measuring its device")
    slowed: list[tuple[str, ...]] = []

    def look() -> None:
        if team.place == 0:
            slowed.extend(gpu.health.slowed for gpu in driver.look().gpus)

    speed = devices.measure(team.device, look)
    dist.barrier()
    pairs = list(measure_pairs(team, plan.names, say))
    sums = list(measure_sums(team, say))
    return {
        "device": speed._asdict(),
        "slowed": slowed,
        "pairs": [pair._asdict() for pair in pairs],
        "sums": [each._asdict() for each in sums],
    }


def main() -> None:
    """Do what the line of input says, put the result up, and end."""
    plan = Plan.from_json(sys.stdin.readline() or sys.exit(0))
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        store = in_time(lambda: _meeting_point(plan), plan.seconds)
    except Exception as error:  # nobody can be told of it but by this
        print(f"{plan.host}:{plan.port}: {error or 'does not answer'}", file=sys.stderr, flush=True)
        os._exit(1)
    try:
        result = measure(plan, store)
    except Exception as error:  # whatever NCCL, gloo and the driver may raise
        result = {"error": str(error).strip().partition("\n")[0] or type(error).__name__}
    Board(store).write(f"result {plan.team.rank}", json.dumps(result))
    sys.stderr.flush()
    os._exit(0)  # to leave the group in order would wait for those that do not answer


def _meeting_point(plan: Plan) -> dist.Store:
    patience = timedelta(seconds=plan.seconds)
    connection = dist.TCPStore(plan.host, plan.port, is_master=False, timeout=patience)
    return dist.PrefixStore(plan.prefix, connection)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
