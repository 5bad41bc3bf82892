"""What the first node does for all: collects, compares, has links measured, and tells."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from tdn.doctor.findings import Finding, fail
from tdn.preflight import facts
from tdn.preflight.devices import DeviceSpeed
from tdn.preflight.links import PairTime, SumTime
from tdn.preflight.node import NodeReport
from tdn.preflight.pulse import SILENCE, Pulses
from tdn.preflight.roll_call import Roll
from tdn.preflight.speeds import Machine, Measured
from tdn.preflight.worker import Plan

Found = list[tuple[str, Finding]]

_POLL = 0.05
_ALIVE = 2.5
"""Seconds in which a node that lives gives a sign of it several times."""
_AFTERMATH = 2.0
"""Seconds after a failure in which others say what they met."""


def collect_nodes(roll: Roll, deadline: float) -> dict[int, NodeReport]:
    """The reports of the nodes that answer in time, by number; of one that is gone none."""
    reports: dict[int, NodeReport] = {}
    missing, pulses = set(range(roll.nodes)), Pulses(roll)
    while missing and time.monotonic() < deadline:
        for node in sorted(missing):
            text = roll.board.read(f"node {node}")
            if text is not None:
                reports[node] = NodeReport.from_dict(json.loads(text))
        missing -= reports.keys() | pulses.silent(SILENCE)
        time.sleep(_POLL)
    return reports


def judge_nodes(roll: Roll, reports: Mapping[int, NodeReport]) -> Found:
    """What is not right on nodes, or differs between them."""
    found: Found = []
    for node, name in enumerate(roll.names):
        report = reports.get(node)
        if report is None:
            found.append((name, _silent("it came, and then gave no answer")))
        else:
            found += [(name, finding) for finding in report.findings if finding.level != "ok"]
    present = sorted(reports)
    names = [roll.names[node] for node in present]
    return [*found, *facts.judge(names, [reports[node].facts for node in present])]


def _silent(what: str) -> Finding:
    return fail("answer", what, "log in there: it hangs, is overloaded, or its network is gone")


def plan_for(roll: Roll, reports: Mapping[int, NodeReport], seconds: float) -> Plan:
    """What the workers are to do."""
    nodes = [reports[node] for node in range(roll.nodes)]
    return Plan(
        backend="nccl" if all(node.gpus for node in nodes) else "gloo",
        host=roll.host,
        port=roll.port,
        prefix=roll.prefix,
        names=roll.names,
        processes=[node.processes for node in nodes],
        seconds=seconds,
    )


def collect_results(
    roll: Roll, plan: Plan, deadline: float, tick: Callable[[], object]
) -> dict[int, dict[str, Any]]:
    """What the workers put up, by rank: until all have, or one has failed, or time is up.

    Args:
        roll: The nodes.
        plan: What they do.
        deadline: By ``time.monotonic``.
        tick: Called again and again.
    """
    results: dict[int, dict[str, Any]] = {}
    total = sum(plan.processes)
    while len(results) < total and time.monotonic() < deadline:
        tick()
        for rank in set(range(total)) - results.keys():
            text = roll.board.read(f"result {rank}")
            if text is not None:
                results[rank] = json.loads(text)
                if "error" in results[rank]:
                    deadline = min(deadline, time.monotonic() + _AFTERMATH)
        time.sleep(_POLL)
    return results


def judge_results(roll: Roll, plan: Plan, results: Mapping[int, dict[str, Any]]) -> Found:
    """What to say of workers that failed, or did not come to an end."""
    node_of = [node for node, count in enumerate(plan.processes) for _ in range(count)]
    errors = {rank: result["error"] for rank, result in results.items() if "error" in result}
    if not errors and len(results) == len(node_of):
        return []
    dead = _without_sign_of_life(roll)
    if dead:
        return [(roll.names[node], _silent("it gives no sign of life any more")) for node in dead]
    # Where one has failed, the others fail or wait because of it.
    first = min(errors.values(), key=_is_consequence, default=None)
    if first is not None:
        worst = _is_consequence(first)
        told = {
            (roll.names[node_of[rank]], _failed(error, plan.backend))
            for rank, error in errors.items()
            if _is_consequence(error) == worst
        }
        return sorted(told)
    return _behind(roll, plan, results, node_of)


def _is_consequence(error: str) -> bool:
    """Whether an error may only say that another process has ended."""
    return any(word in error.lower() for word in ("peer", "reset", "remote process", "aborted"))


def _failed(error: str, backend: str) -> Finding:
    from tdn.doctor.communication import Backend, remedy

    return fail("links", f"{backend}: {error}", remedy(Backend(backend, problem=error)))


def _without_sign_of_life(roll: Roll) -> list[int]:
    """Nodes whose processes are stopped, or out of reach."""
    pulses = Pulses(roll)
    pulses.silent(0)  # takes note of the signs that are there already
    time.sleep(_ALIVE)
    return sorted(pulses.silent(0))


def _behind(
    roll: Roll, plan: Plan, results: Mapping[int, dict[str, Any]], node_of: list[int]
) -> Found:
    """The nodes whose workers stand behind the others, and what they are at."""
    stands: dict[int, tuple[int, str]] = {}
    for rank in set(range(len(node_of))) - results.keys():
        text = roll.board.read(f"stand {rank}")
        stands[rank] = (-1, "starting") if text is None else tuple(json.loads(text))
    last = min(step for step, _ in stands.values())
    told = sorted({(node_of[rank], text) for rank, (step, text) in stands.items() if step == last})
    seconds = f"{plan.seconds:.0f} s"
    remedy = (
        "NCCL_DEBUG=INFO (gloo: TORCH_CPP_LOG_LEVEL=INFO) says what it waits for; firewalls must "
        "let all ports between nodes through; launch/environment.sh has the network's variables"
    )
    return [
        (roll.names[node], fail("links", f"after {seconds} it is still {text}", remedy))
        for node, text in told
    ]


def measured(roll: Roll, plan: Plan, results: Mapping[int, dict[str, Any]]) -> Measured:
    """What all workers have found, together."""
    ranks = [(node, place) for node, count in enumerate(plan.processes) for place in range(count)]
    by_place = dict(zip(ranks, (results[rank] for rank in range(len(ranks))), strict=True))
    pairs = [
        PairTime(tuple(pair["nodes"]), pair["latency"], pair["bytes_per_second"])
        for result in by_place.values()
        for pair in result["pairs"]
    ]
    slowest: dict[tuple[str, int], SumTime] = {}
    for result in by_place.values():
        for each in (SumTime(**values) for values in result["sums"]):
            key = (each.scope, each.bytes)
            if key not in slowest or each.seconds > slowest[key].seconds:
                slowest[key] = each
    return Measured(
        backend=plan.backend,
        names=roll.names,
        devices={at: DeviceSpeed(**result["device"]) for at, result in by_place.items()},
        slowed={node: by_place[node, 0]["slowed"] for node in range(roll.nodes)},
        pairs=pairs,
        sums=list(slowest.values()),
    )


def machines(reports: Mapping[int, NodeReport]) -> list[Machine]:
    """What the links of all nodes should give."""
    nodes = [reports[node] for node in sorted(reports)]
    return [Machine(node.network, node.nvlink, node.pcie) for node in nodes]
