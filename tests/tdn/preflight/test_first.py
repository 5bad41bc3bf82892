from __future__ import annotations

import json
import threading
import time

import pytest
import torch.distributed as dist

from tdn.doctor.findings import fail, ok, warn
from tdn.preflight import first
from tdn.preflight.node import NodeReport
from tdn.preflight.pulse import Pulses, beating
from tdn.preflight.roll_call import Roll
from tdn.preflight.worker import Plan
from tdn.training.processes.board import Board

NAMES = ("a", "b", "c")
REPORT = NodeReport(1, 0, [ok("dali", "runs")], {"torch": "2.13.0"})
PLAN = Plan("gloo", "localhost", 1, "", NAMES, (1, 2, 1), 20.0)
"""Rank 0 is on a, 1 and 2 on b, 3 on c."""
GOOD = {"device": [], "pairs": [], "sums": [], "slowed": []}


@pytest.fixture
def roll(monkeypatch):
    monkeypatch.setattr(first, "_ALIVE", 0.3)
    monkeypatch.setattr(first, "_AFTERMATH", 0.1)
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    return Roll(Board(store), store, "", "localhost", store.port, 0, NAMES, 0.0, 0.0)


@pytest.fixture
def alive(roll):
    """Give signs of life of nodes, as the fixture's caller says."""
    over = threading.Event()
    threads = []

    def live(*nodes):
        def beat():
            board = Board(roll.store)
            count = 0
            while not over.wait(0.05):
                count += 1
                for node in nodes:
                    board.write(f"alive {node}", str(count))

        threads.append(threading.Thread(target=beat))
        threads[-1].start()

    yield live
    over.set()
    for thread in threads:
        thread.join()


def judged(roll, results):
    found = first.judge_results(roll, PLAN, results)
    return [(name, finding.level, finding.found) for name, finding in found]


def stand(roll, rank, step, text):
    roll.board.write(f"stand {rank}", json.dumps([step, text]))


def test_a_node_that_does_not_report_is_named(roll):
    for node in (0, 2):
        roll.board.write(f"node {node}", json.dumps(REPORT.to_dict()))
    reports = first.collect_nodes(roll, time.monotonic() + 0.3)
    assert reports == {0: REPORT, 2: REPORT}
    ((name, finding),) = first.judge_nodes(roll, reports)
    assert (name, finding.level) == ("b", "fail")


def test_a_node_that_is_gone_is_not_waited_for(roll, alive, monkeypatch):
    monkeypatch.setattr(first, "SILENCE", 1.0)
    roll.board.write("node 0", json.dumps(REPORT.to_dict()))
    alive(2)
    began = time.monotonic()
    timer = threading.Timer(2.0, Board(roll.store).write, ("node 2", json.dumps(REPORT.to_dict())))
    timer.start()
    assert first.collect_nodes(roll, began + 60).keys() == {0, 2}
    assert 2.0 <= time.monotonic() - began < 30


def test_signs_of_life_end_with_the_node(roll):
    pulses = Pulses(roll)
    with beating(roll._replace(node=1)):
        assert roll.board.read("alive 1", wait=10)
        assert pulses.silent(0) == {2}
    assert pulses.silent(5) == set()
    time.sleep(0.1)
    assert pulses.silent(0.05) == {1, 2}


def test_what_is_right_is_not_listed_and_what_differs_is(roll):
    other = NodeReport(1, 0, [warn("a", "b", "c"), ok("d", "e")], {"torch": "2.12.0"})
    found = first.judge_nodes(roll, {0: REPORT, 1: REPORT, 2: other})
    assert [(name, finding.level) for name, finding in found] == [("c", "warn"), ("c", "fail")]


def test_all_measured(roll):
    for rank in range(4):
        roll.board.write(f"result {rank}", json.dumps(GOOD))
    ticks = []
    results = first.collect_results(roll, PLAN, time.monotonic() + 5, lambda: ticks.append(1))
    assert set(results) == {0, 1, 2, 3}
    assert judged(roll, results) == []
    assert ticks


def test_a_node_without_a_sign_of_life_is_named(roll, alive):
    alive(2)
    stand(roll, 0, 3, "waiting for other pairs of nodes")
    for rank in (1, 2):  # stopped where others have not yet come to
        stand(roll, rank, 4, "exchanging with a")
    assert [finding[0] for finding in judged(roll, {3: GOOD})] == ["b"]


def test_who_stands_behind_is_named_with_what_it_is_at(roll, alive):
    alive(1, 2)
    stand(roll, 0, 4, "exchanging with c")
    stand(roll, 1, 1, "measuring its device")
    stand(roll, 2, 3, "waiting for other pairs of nodes")
    stand(roll, 3, 4, "exchanging with a")
    ((name, level, text),) = judged(roll, {})
    assert (name, level) == ("b", "fail")
    assert "measuring its device" in text


def test_a_worker_that_never_began_is_behind_all(roll, alive):
    alive(1, 2)
    for rank in (0, 1, 2):
        stand(roll, rank, 0, "meeting the other processes")
    assert [finding[0] for finding in judged(roll, {})] == ["c"]


def test_the_cause_is_told_and_not_its_consequences(roll, alive):
    alive(1, 2)
    results = {
        0: {"error": "Connection closed by peer [10.0.0.2]:1234"},
        2: {"error": "CUDA error: uncorrectable ECC error encountered"},
        3: {"error": "Connection reset by peer"},
    }
    ((name, level, text),) = judged(roll, results)
    assert (name, level) == ("b", "fail")
    assert "ECC" in text
    consequences = {rank: results[rank] for rank in (0, 3)}
    assert [finding[0] for finding in judged(roll, consequences)] == ["a", "c"]


def test_after_a_failure_others_are_not_waited_for_long(roll):
    roll.board.write("result 1", json.dumps({"error": "out of memory"}))
    began = time.monotonic()
    assert set(first.collect_results(roll, PLAN, began + 60, lambda: None)) == {1}
    assert time.monotonic() - began < 30


def test_nccl_is_for_nodes_that_all_have_gpus(roll):
    gpu = NodeReport(2, 2, [], {})
    plan = first.plan_for(roll, dict.fromkeys(range(3), gpu), 20)
    assert (plan.backend, list(plan.processes)) == ("nccl", [2, 2, 2])
    assert first.plan_for(roll, {0: gpu, 1: gpu, 2: REPORT}, 20).backend == "gloo"


def test_reports_travel_as_text():
    report = NodeReport(1, 0, [fail("a", "b", "c")], {"d": "e"}, nvlink=1.0)
    assert NodeReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert Plan.from_json(PLAN.to_json()).team == PLAN.team
