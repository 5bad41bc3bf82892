"""Teams of real processes that talk by gloo, in which one can be made slow."""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
from datetime import timedelta

import torch.distributed as dist

from tdn.preflight import first
from tdn.preflight.roll_call import Roll
from tdn.preflight.speeds import Machine, judge
from tdn.preflight.worker import Plan, measure
from tdn.training.processes.board import Board

_FORK = multiprocessing.get_context("fork")


def slow_down(bytes_per_second):
    """Let this process exchange buffers no faster than that."""
    exchange = dist.batch_isend_irecv

    def slowly(operations):
        time.sleep(operations[0].tensor.numel() / bytes_per_second)
        return exchange(operations)

    dist.batch_isend_irecv = slowly


def meet(host="localhost"):
    """A store, and a board in it, as the first node has them."""
    store = dist.TCPStore(
        host, 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=30)
    )
    return store, Board(store)


def _work(plans, prepare, results):
    prepare()
    plan = plans.recv()
    address, patience = (plan.host, plan.port), timedelta(seconds=30)
    store = dist.TCPStore(*address, is_master=False, timeout=patience)
    results.put((plan.team.rank, measure(plan, store)))


def measure_team(processes, prepare, host="localhost", at=lambda make: make()):
    """What real processes measure, all of which come to the end.

    Args:
        processes: Of each node.
        prepare: By rank, what to call first in that process.
        host: Where they find the store.
        at: Calls what makes the store, in the right place.
    """
    places = [(node, place) for node, count in enumerate(processes) for place in range(count)]
    results = _FORK.Queue()
    plans, workers = [], []
    for rank in range(len(places)):  # before the store has a thread, whose locks a fork would keep
        receiving, sending = _FORK.Pipe(duplex=False)
        todo = (receiving, prepare.get(rank, lambda: None), results)
        workers.append(_FORK.Process(target=_work, args=todo, daemon=True))
        workers[-1].start()
        plans.append(sending)
    try:
        store, board = at(lambda: meet(host))
        names = tuple("abcdefgh"[: len(processes)])
        plan = Plan("gloo", host, store.port, "", names, processes, 30.0)
        for sending, (node, place) in zip(plans, places, strict=True):
            sending.send(dataclasses.replace(plan, node=node, place=place))
        found = dict(results.get(timeout=60) for _ in workers)
    finally:
        for worker in workers:
            worker.kill()
    roll = Roll(board, store, "", host, store.port, 0, names, 0.0, 0.0)
    assert first.judge_results(roll, plan, found) == []
    return first.measured(roll, plan, found)


def network_findings(measured):
    """What is said of the network, whose speed the system does not tell: (node, finding)."""
    found = judge(measured, [Machine()] * len(measured.names))
    return [(name, finding) for name, finding in found if finding.name == "network"]
