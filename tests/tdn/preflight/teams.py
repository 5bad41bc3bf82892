"""Teams of real processes that talk by gloo, in which one can be made slow."""

from __future__ import annotations

import multiprocessing
import time
from datetime import timedelta

import torch.distributed as dist

from tdn.preflight import first
from tdn.preflight.roll_call import Roll
from tdn.preflight.worker import Plan, measure
from tdn.training.board import Board

_FORK = multiprocessing.get_context("fork")


def slow_down(bytes_per_second):
    """Let this process exchange buffers no faster than that."""
    exchange = dist.batch_isend_irecv

    def slowly(operations):
        time.sleep(operations[0].tensor.numel() / bytes_per_second)
        return exchange(operations)

    dist.batch_isend_irecv = slowly


def _work(plan, address, prepare, results):
    prepare()
    store = dist.TCPStore(*address, is_master=False, timeout=timedelta(seconds=30))
    results.put((plan.team.rank, measure(plan, store)))


def run_team(processes, prepare):
    """Measure with real processes.

    Args:
        processes: Of each node.
        prepare: By rank, what to call first in that process.

    Returns:
        The nodes, the plan and the results by rank, as the first node has them.
    """
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    names = tuple("abcdefgh"[: len(processes)])
    plan = Plan("gloo", "localhost", store.port, "", names, processes, 30.0)
    places = [(node, place) for node, count in enumerate(processes) for place in range(count)]
    results = _FORK.Queue()
    workers = []
    for rank, (node, place) in enumerate(places):
        own = Plan("gloo", "localhost", store.port, "", names, processes, 30.0, node, place)
        todo = (own, ("localhost", store.port), prepare.get(rank, lambda: None), results)
        workers.append(_FORK.Process(target=_work, args=todo, daemon=True))
        workers[-1].start()
    try:
        found = dict(results.get(timeout=60) for _ in workers)
    finally:
        for worker in workers:
            worker.kill()
    return Roll(Board(store), store, "", "localhost", store.port, 0, names, 0.0, 0.0), plan, found


def judge_team(processes, prepare):
    """What is measured by real processes, and what is said of it: (node, what)."""
    roll, plan, results = run_team(processes, prepare)
    assert first.judge_results(roll, plan, results, lambda: None) == []
    return first.measured(roll, plan, results)
