"""A preflight on one node: meet the others, examine, measure, and leave with what all decided."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tdn.doctor.gpus import has_gpu
from tdn.errors import UserError
from tdn.preflight import first, network, shared_folder, speeds
from tdn.preflight.cluster import Cluster, from_environment
from tdn.preflight.node import NodeReport, examine_node
from tdn.preflight.pulse import beating
from tdn.preflight.report import report, write_report
from tdn.preflight.request import Request, read_request
from tdn.preflight.roll_call import AbsenceError, Roll, call
from tdn.preflight.speeds import Measured
from tdn.preflight.table import table
from tdn.preflight.worker import Plan
from tdn.preflight.workers import Workers

WAIT = 40.0
"""Seconds for nodes to come; TDN_PREFLIGHT_WAIT overrides it."""
LIMIT = 65.0
"""Seconds in which nodes come and are examined; with measuring and margins two minutes."""
EXAMINE = 25.0
"""Seconds for a node's checks at least, however long others were waited for."""
MEASURE = 45.0
"""Seconds for the workers: hundreds of GPUs take some ten to connect."""
_MARGIN = 4.0
"""Seconds by which others are more patient than the one that decides."""
_LEAVE = 2.0
"""Seconds for all to read how it ended."""
_POLL = 0.1


def main(words: Sequence[str]) -> int:
    """Examine the nodes of a run.

    Args:
        words: What is to be run, as words after ``tdn``; nothing for the machines alone.

    Returns:
        0 if training can start, 1 if not, 2 after a mistake in the words or variables.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return 0  # of the processes that torchrun started on a node, one speaks for all
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        request = read_request(words)
        cluster = from_environment(os.environ, _count_gpus)
        os.environ["LOCAL_WORLD_SIZE"] = str(cluster.processes)  # for the checks
        wait = _wait(os.environ)
        with Workers(cluster.processes) as workers:
            return _Preflight(request, cluster, workers).run(wait)
    except AbsenceError as error:
        if error.tells:
            _say(str(error))
        return 1
    except UserError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        _say("interrupted")
        return 130


def _wait(variables: Mapping[str, str]) -> float:
    text = variables.get("TDN_PREFLIGHT_WAIT") or str(WAIT)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UserError(f"TDN_PREFLIGHT_WAIT: '{text}' does not fit; give seconds above 0")
    return seconds


def _count_gpus() -> int:
    if not has_gpu():
        return 0
    import torch

    return torch.cuda.device_count()  # by the driver's library: it does not begin to use them


def _say(text: str) -> None:
    print(f"preflight: {text}", file=sys.stderr, flush=True)


class _Preflight:
    """One node's part."""

    def __init__(self, request: Request, cluster: Cluster, workers: Workers) -> None:
        self._request = request
        self._cluster = cluster
        self._workers = workers
        self._began = time.time()
        self._first_rank: int | None = None

    def run(self, wait: float) -> int:
        """Carry it out; the status that all nodes leave with."""
        request, cluster = self._request, self._cluster
        roll = call(cluster, wait, _say)
        seconds = max(EXAMINE, LIMIT - roll.waited)
        deadline = time.monotonic() + seconds + _MARGIN
        with (
            contextlib.closing(roll.board),
            beating(roll),
            shared_folder.shown(request.output, roll),
        ):
            # Before the checks: they get what this leaves of the time.
            unseen = list(shared_folder.judge(request.output, roll))
            gpus = _count_gpus()
            own = examine_node(
                request,
                cluster.processes,
                gpus,
                network.look(roll.host, roll.port, gpus),
                roll.ahead,
                max(1.0, deadline - _MARGIN - time.monotonic()),
            )
            own.findings.extend(unseen)
            roll.board.write(f"node {roll.node}", json.dumps(own.to_dict()))
            if roll.is_first:
                return self._decide(roll, deadline)
            return self._follow(roll, deadline + _MARGIN)

    def _decide(self, roll: Roll, deadline: float) -> int:
        """Of the first node: compare, have links measured, tell."""
        reports = first.collect_nodes(roll, deadline)
        found = first.judge_nodes(roll, reports)
        measured = None
        if any(finding.level == "fail" for _, finding in found):
            roll.board.write("plan", "")
        else:
            measured = self._measure(roll, reports, found)
        seconds = time.time() - self._began
        lines = []
        if measured is not None:
            machines = first.machines(reports)
            found += speeds.judge(measured, machines)
            lines = speeds.describe(measured, machines)
        print(table(roll.names, found, lines, seconds), flush=True)
        values = report(roll.names, reports, found, measured, self._began, seconds)
        status = 0 if values["can_start"] else 1
        self._write(values)
        roll.board.write("verdict", str(status))
        until = time.monotonic() + _LEAVE
        for node in range(1, roll.nodes):  # the store may end with this process
            roll.board.read(f"bye {node}", wait=until - time.monotonic())
        return status

    def _write(self, values: dict[str, Any]) -> None:
        """Keep what was found: nobody waits for that, and no run is stopped by it."""
        if self._request.output is None:
            return
        try:
            write_report(values, self._request.output)
        except UserError as error:
            _say(f"the report is not kept: {error}")

    def _measure(
        self, roll: Roll, reports: Mapping[int, NodeReport], found: first.Found
    ) -> Measured | None:
        plan = first.plan_for(roll, reports, MEASURE)
        roll.board.write("plan", plan.to_json())
        self._begin(roll, plan)
        deadline = time.monotonic() + MEASURE
        results = first.collect_results(roll, plan, deadline, lambda: self._tell_of_ended(roll))
        failed = first.judge_results(roll, plan, results)
        if failed:
            found += failed
            return None
        return first.measured(roll, plan, results)

    def _follow(self, roll: Roll, deadline: float) -> int:
        """Of the other nodes: measure when told to, and wait for the verdict."""
        lost = AbsenceError(
            f"{roll.names[0]}: the first node does not answer {roll.names[roll.node]} any more; "
            "see its messages"
        )
        text = roll.board.read("plan", wait=deadline - time.monotonic())
        if text is None:
            raise lost
        if text:
            self._begin(roll, Plan.from_json(text))
        deadline = time.monotonic() + MEASURE + 2 * _MARGIN
        while time.monotonic() < deadline:
            self._tell_of_ended(roll)
            verdict = roll.board.read("verdict")
            if verdict is not None:
                roll.board.write(f"bye {roll.node}", "")
                return int(verdict)
            time.sleep(_POLL)
        raise lost

    def _begin(self, roll: Roll, plan: Plan) -> None:
        self._first_rank = sum(plan.processes[: roll.node])
        self._workers.begin(dataclasses.replace(plan, node=roll.node))

    def _tell_of_ended(self, roll: Roll) -> None:
        """Tell of workers that ended without a word."""
        if self._first_rank is None:
            return
        for place, status in self._workers.ended().items():
            key = f"result {self._first_rank + place}"
            if status and roll.board.read(key) is None:
                error = f"process {place} ended with status {status}; see its messages"
                roll.board.write(key, json.dumps({"error": error}))
