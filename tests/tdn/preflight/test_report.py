from __future__ import annotations

import json

from tdn.doctor.findings import fail
from tdn.preflight.devices import DeviceSpeed
from tdn.preflight.links import PairTime, SumTime
from tdn.preflight.network import Network
from tdn.preflight.node import NodeReport
from tdn.preflight.report import NAME, report, write_report
from tdn.preflight.speeds import Measured

NODE = NodeReport(2, 0, [], {"torch": "2.13.0"}, Network("eth0", 1e9, 2e9), 3e9)
SUMS = (
    SumTime("node", 2, 1024, 2e-6),
    SumTime("node", 2, 10**6, 1e-3),
    SumTime("all", 4, 10**6, 1),
)
PAIRS = [PairTime((0, 1), latency, 4e6) for latency in (1e-5, 2e-5, 1e-5, 1e-5)]
DEVICES = {(node, place): DeviceSpeed("CPU", 1.0, 2.0, 0.0) for node in (0, 1) for place in (0, 1)}


def test_a_report_of_two_nodes(tmp_path):
    measured = Measured("gloo", ("a", "b"), DEVICES, {}, PAIRS, SUMS)
    found = [("b", fail("driver", "is old", "update it"))]
    values = report(("a", "b"), {0: NODE, 1: NODE}, found, measured, 1e9, 5.0)
    write_report(values, tmp_path / "new")
    written = json.loads((tmp_path / "new" / NAME).read_text())
    assert written == json.loads(json.dumps(values))
    assert (written["can_start"], written["seconds"], written["backend"]) == (False, 5.0, "gloo")
    assert written["findings"][0]["node"] == "b"
    assert written["nodes"][1]["nvlink_bytes_per_second"] == 3e9
    assert len(written["devices"]) == 4
    # Two processes of a node share its network, and both ends measure.
    assert written["pairs"] == [
        {"nodes": ["a", "b"], "bytes_per_second": 8e6, "latency_seconds": 2e-5}
    ]
    assert written["links"] == {
        "node_bandwidth": 1e9,
        "node_latency": 1e-6,
        "link_bandwidth": 8e6,
        "link_latency": 2e-5,
    }


def test_a_single_node_has_no_links_to_others():
    single = Measured("gloo", ("a",), {}, {}, [], [SumTime("all", 2, 10**6, 1e-3)])
    links = report(("a",), {0: NODE}, [], single, 0.0, 1.0)["links"]
    assert links["node_bandwidth"] == 1e9
    assert links["link_bandwidth"] is None


def test_a_report_without_measurements():
    values = report(("a",), {0: NODE}, [], None, 0.0, 1.0)
    assert values["can_start"]
    assert set(values["links"].values()) == {None}
    assert values["pairs"] == values["sums"] == values["devices"] == []
