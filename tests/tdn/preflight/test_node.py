from __future__ import annotations

import importlib

import pytest

from tdn.doctor.driver import Driver, Gpu
from tdn.doctor.findings import ok
from tdn.doctor.gpu_health import Health, Pcie
from tdn.doctor.isolation import Check
from tdn.preflight import node
from tdn.preflight.network import Network
from tdn.preflight.node import checks, examine_node
from tdn.preflight.request import Request


@pytest.mark.parametrize("gpu", [True, False])
def test_what_is_looked_at(gpu, monkeypatch):
    monkeypatch.setattr(node, "has_gpu", lambda: gpu)
    names = [check.name for check in checks(Request(words=("a.yaml", "--seed", "1")))]
    assert {"driver", "libraries", "dali", "limits"} <= set(names)
    assert ("video" in names) == gpu
    assert names[-1] == "configuration"
    assert "configuration" not in [check.name for check in checks(Request())]
    assert "video" not in [check.name for check in checks(Request(on_gpu=False))]


def test_every_check_is_there():
    for check in checks(Request(words=("a.yaml",))):
        module, _, name = check.function.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def gpu(pcie):
    return Gpu("L40S", "", 0, 0, False, 0, "", 0, "", Health(pcie=pcie))


def test_a_check_that_is_late_stops_no_run(monkeypatch):
    hanging = Check("hanging", "tests.tdn.doctor.misbehaving:hang")
    monkeypatch.setattr(node, "checks", lambda _: (hanging,))
    report = examine_node(Request(), 1, 0, Network(), 0.0, 0.1)
    assert problems(report) == [("warn", "hanging")]


def examined(monkeypatch, processes=2, gpus=2, ahead=0.0, **request):
    monkeypatch.setattr(node, "examine", lambda *_, **__: [ok("dali", "runs")])
    monkeypatch.setattr(node.nvlink, "look", lambda: ((25e9, 25e9), (25e9,)))
    seen = [gpu(Pcie(4, 5, 16, width)) for width in (16, 8)]
    monkeypatch.setattr(node.driver, "look", lambda: Driver(gpus=tuple(seen)))
    return examine_node(Request(**request), processes, gpus, Network(), ahead, 5.0)


def problems(report):
    return [(finding.level, finding.name) for finding in report.findings if finding.level != "ok"]


def test_a_node_that_is_well(monkeypatch):
    report = examined(monkeypatch)
    assert problems(report) == []
    assert (report.gpus, report.nvlink, report.facts["device"]) == (2, 25e9, "cuda")
    assert report.pcie == pytest.approx(31.5e9, rel=0.01)  # half of what generation 5 gives
    report = examined(monkeypatch, on_gpu=False)
    assert (report.gpus, report.nvlink, report.facts["device"]) == (0, 0.0, "cpu")
    assert report.pcie == 0


def test_more_processes_than_gpus(monkeypatch):
    assert problems(examined(monkeypatch, processes=4)) == [("fail", "processes")]
    assert problems(examined(monkeypatch, processes=4, gpus=0)) == []


def test_a_clock_that_is_off(monkeypatch):
    assert problems(examined(monkeypatch, ahead=100.0)) == [("warn", "clock")]
