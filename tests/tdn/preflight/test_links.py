from __future__ import annotations

import functools

import pytest

from tdn.preflight import links
from tests.tdn.preflight.teams import measure_team, network_findings, slow_down

MEGABYTE = 10**6


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Larger sums are left out."""
    monkeypatch.setattr(links, "_LONGEST", 0.02)


def test_of_three_nodes_the_slow_one_is_named():
    """Real processes; one of them exchanges at 10 MB/s, the others as fast as they can."""
    measured = measure_team([1, 1, 1], {1: functools.partial(slow_down, 10 * MEGABYTE)})
    ((name, finding),) = network_findings(measured)
    assert name == "b"
    assert "GB/s" in finding.found
    rates = measured.bandwidth
    assert rates[0, 2] > 5 * rates[0, 1]
    assert rates[0, 1] == pytest.approx(10 * MEGABYTE, rel=0.3)


def test_processes_of_nodes_measure_side_by_side(monkeypatch):
    monkeypatch.setattr(links, "_MOST", {"cpu": 1 << 20})
    measured = measure_team([2, 1], {})
    assert set(measured.devices) == {(0, 0), (0, 1), (1, 0)}
    assert len(measured.pairs) == 2  # the second process of a node has no counterpart
    assert {pair.nodes for pair in measured.pairs} == {(0, 1)}
    scopes = {(each.scope, each.processes) for each in measured.sums}
    assert scopes == {("node", 2), ("all", 3)}
    sizes = [each.bytes for each in measured.sums if each.scope == "all"]
    assert sizes == sorted(sizes)
    assert {1 << 10, 1 << 20} <= set(sizes)
    assert all(each.seconds > 0 for each in measured.sums)
    assert all(speed.flops_per_second > 1e8 for speed in measured.devices.values())
