"""preflight.json: what a preflight found and measured, for programs.

``{"tdn", "time", "seconds", "can_start", "backend", "nodes", "findings", "devices", "pairs",
"sums", "links"}``:

time: When it began, in seconds since 1970. seconds: What it took.
nodes: [{"name", "processes", "gpus", "facts": {what: value}, "interface",
    "ethernet_bytes_per_second", "infiniband_bytes_per_second", "nvlink_bytes_per_second",
    "pcie_bytes_per_second"}]; what links should give is per node and direction, that of NVLink and
    PCIe per GPU; 0 where unknown.
findings: [{"node", "level", "name", "found", "remedy"}]; node "" is all of them. Only what is not
    right is listed.
devices: [{"node", "process", "name", "flops_per_second", "copy_bytes_per_second",
    "host_bytes_per_second"}] of each process.
pairs: [{"nodes": [name, name], "bytes_per_second", "latency_seconds"}] between nodes: in each
    direction while both send, of all their processes together.
sums: [{"scope", "processes", "bytes", "seconds", "bus_bytes_per_second"}] of all-reduces over all
    processes, or within a node (the slowest); the last rate is 2 (n-1)/n bytes / seconds.
links: {"node_bandwidth", "node_latency", "link_bandwidth", "link_latency"}, what
    ``benchmarks/scaling.py --preflight`` takes: bytes per second and direction of a process to its
    neighbours in a node, by the best of the sums there, and seconds of a message, by the smallest;
    bytes per second of a node to others, and seconds of a message: the median of the better half
    of all pairs. Null where there are no neighbours or other nodes.

What was not measured, because training cannot start, is empty or null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tdn
from tdn.doctor.findings import Finding
from tdn.files import write_text_atomically
from tdn.preflight.node import NodeReport
from tdn.preflight.slow import usual
from tdn.preflight.speeds import Measured

NAME = "preflight.json"
_LINKS = ("node_bandwidth", "node_latency", "link_bandwidth", "link_latency")


def report(
    names: Sequence[str],
    nodes: Mapping[int, NodeReport],
    found: Sequence[tuple[str, Finding]],
    measured: Measured | None,
    began: float,
    seconds: float,
) -> dict[str, Any]:
    """The report, as JSON takes it.

    Args:
        names: Of all nodes.
        nodes: What those found that answered.
        found: What is not right, with the node it is about.
        measured: Unless nothing was.
        began: Seconds since 1970.
        seconds: That it took.
    """
    return {
        "tdn": tdn.__version__,
        "time": began,
        "seconds": seconds,
        "can_start": all(finding.level != "fail" for _, finding in found),
        "backend": measured.backend if measured else None,
        "nodes": [_node(names[number], node) for number, node in sorted(nodes.items())],
        "findings": [{"node": name, **finding._asdict()} for name, finding in found],
        **_measured(names, measured),
    }


def write_report(values: dict[str, Any], folder: Path) -> None:
    """Write it into a run folder.

    Raises:
        UserError: It cannot be written.
    """
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    write_text_atomically(folder / NAME, text, "choose another --output")


def _node(name: str, node: NodeReport) -> dict[str, Any]:
    return {
        "name": name,
        "processes": node.processes,
        "gpus": node.gpus,
        "facts": node.facts,
        "interface": node.network.interface,
        "ethernet_bytes_per_second": node.network.ethernet,
        "infiniband_bytes_per_second": node.network.infiniband,
        "nvlink_bytes_per_second": node.nvlink,
        "pcie_bytes_per_second": node.pcie,
    }


def _measured(names: Sequence[str], measured: Measured | None) -> dict[str, Any]:
    if measured is None:
        return {"devices": [], "pairs": [], "sums": [], "links": dict.fromkeys(_LINKS)}
    rates, times = measured.bandwidth, measured.latency
    devices = [
        {"node": names[node], "process": place, **speed._asdict()}
        for (node, place), speed in sorted(measured.devices.items())
    ]
    pairs = [
        {
            "nodes": [names[node] for node in pair],
            "bytes_per_second": rates[pair],
            "latency_seconds": times[pair],
        }
        for pair in rates
    ]
    sums = [
        {**each._asdict(), "bus_bytes_per_second": each.bus_bytes_per_second}
        for each in measured.sums
    ]
    return {
        "devices": devices,
        "pairs": pairs,
        "sums": sums,
        "links": _links(measured),
    }


def _links(measured: Measured) -> dict[str, float | None]:
    found: dict[str, float | None] = dict.fromkeys(_LINKS)
    scope = "all" if len(measured.names) == 1 else "node"
    within = [each for each in measured.sums if each.scope == scope]
    if within:
        smallest = min(within, key=lambda each: each.bytes)
        found["node_bandwidth"] = max(each.bus_bytes_per_second for each in within)
        # A ring passes a message on so many times.
        found["node_latency"] = smallest.seconds / (2 * (smallest.processes - 1))
    if measured.pairs:
        found["link_bandwidth"] = usual(list(measured.bandwidth.values()))
        found["link_latency"] = 1 / usual([1 / value for value in measured.latency.values()])
    return found
