"""What to say of measured devices and links.

Nothing here stops a run: it would be slow, and go to its end. Shares leave room for what differs
between sound machines, and for the work of others on the same cores.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tdn.doctor.findings import Finding, warn
from tdn.preflight.devices import DeviceSpeed
from tdn.preflight.links import PairTime, SumTime
from tdn.preflight.network import Network
from tdn.preflight.slow import Pair, find_culprits, usual

GB, MICROSECOND = 1e9, 1e-6
_OF_USUAL = {"nccl": 0.7, "gloo": 0.5}
"""Share of what others reach below which a pair of nodes is slow."""
_LATENCY = 0.1
"""The same of latency's inverse: that of a few bytes is noisy."""
_NOTICED = 1e-3
"""Seconds of latency that no training notices: a step takes a hundred times as long."""
_OF_LINK = 0.5
"""Share of what the network should give below which all of it is slow: headers, and one flow of
several, cost less."""
_GLOO = 1 * GB
"""Bytes per second that are asked of gloo, however fast the network: it copies and adds with a core
of each process. A choice: less than a core's memory gives, and enough to notice a link that runs at
a tenth of 10 Gbit/s."""
_OF_SUM = {"nccl": 0.5, "gloo": 0.1}
"""Share of what its links allow that a sum over all reaches at least; gloo's adds on the CPU."""
_OF_DEVICE = {"nccl": 0.8, "gloo": 0.5}
_OF_NVLINK = 0.5
"""Share of its NVLinks that a sum within a node reaches at least, with NVLS or rings."""
_OF_PCIE = 0.2
"""The same of PCIe, whose lanes GPUs share, and whose way may lead from one socket to the other."""
_OF_HOST = 0.4
"""Share of its PCIe that a copy to a GPU reaches at least."""


class Measured(NamedTuple):
    """What all workers have found."""

    backend: str
    names: Sequence[str]
    """Of the nodes."""
    devices: Mapping[tuple[int, int], DeviceSpeed]
    """Of each worker, by node and place."""
    slowed: Mapping[int, Sequence[Sequence[str]]]
    """Of each node: why each of its GPUs computed slower than it can."""
    pairs: Sequence[PairTime]
    """Of all workers: those of a node share its network."""
    sums: Sequence[SumTime]
    """Of the slowest node, where each summed by itself."""

    @property
    def bandwidth(self) -> dict[Pair, float]:
        """Bytes per second between nodes, in each direction, of all their processes together."""
        found: dict[Pair, float] = {}
        for pair in self.pairs:  # two processes measured each exchange
            found[pair.nodes] = found.get(pair.nodes, 0.0) + pair.bytes_per_second / 2
        return found

    @property
    def latency(self) -> dict[Pair, float]:
        """Seconds between nodes, by their slowest processes."""
        found: dict[Pair, float] = {}
        for pair in self.pairs:
            found[pair.nodes] = max(found.get(pair.nodes, 0.0), pair.latency)
        return found


class Machine(NamedTuple):
    """What the links of a node should give."""

    network: Network = Network()
    nvlink: float = 0.0
    """Bytes per second of a GPU's NVLinks; 0 without any."""
    pcie: float = 0.0
    """Bytes per second and direction of a GPU's link to the host; 0 where unknown."""


def judge(measured: Measured, machines: Sequence[Machine]) -> Iterator[tuple[str, Finding]]:
    """What to say of a measurement.

    Args:
        measured: What was found.
        machines: Of each node.

    Yields:
        Findings, each with the node it is about; "" for all of them.
    """
    yield from _devices(measured)
    for node, gpus in measured.slowed.items():
        for number, reasons in enumerate(gpus):
            if reasons:
                yield measured.names[node], _slowed(number, reasons)
    yield from _host_links(measured, machines)
    if measured.pairs:
        networks = [machine.network for machine in machines]
        yield from _bandwidth(measured, networks)
        yield from _latency(measured)
        yield from _sum_over_all(measured, networks)
    yield from _within_nodes(measured, machines)


def _devices(measured: Measured) -> Iterator[tuple[str, Finding]]:
    share = _OF_DEVICE[measured.backend]
    for what, unit, speed_of in (
        ("matrix products", "TFLOP/s", lambda speed: speed.flops_per_second / 1e12),
        ("copies in memory", "GB/s", lambda speed: speed.copy_bytes_per_second / GB),
        ("copies to the GPU", "GB/s", lambda speed: speed.host_bytes_per_second / GB),
    ):
        for name in sorted({speed.name for speed in measured.devices.values()}):
            alike = {at: speed_of(s) for at, s in measured.devices.items() if s.name == name}
            normal = usual(list(alike.values()))
            for (node, place), value in alike.items():
                if value < share * normal:
                    found = f"{what}: {value:.3g} {unit}, others reach {normal:.3g}"
                    yield measured.names[node], warn(_called(measured, place), found, _PROCESSES)


_PROCESSES = (
    "see who else computes there (nvidia-smi, top), and whether heat or power holds clocks back "
    "(nvidia-smi -q -d PERFORMANCE)"
)


def _called(measured: Measured, place: int) -> str:
    return f"gpu {place}" if measured.backend == "nccl" else f"process {place}"


def _slowed(number: int, reasons: Sequence[str]) -> Finding:
    return warn(
        f"gpu {number}",
        f"computes slower than it can: {', '.join(reasons)}",
        f"look at its cooling and power supply: nvidia-smi -i {number} -q -d "
        "PERFORMANCE,TEMPERATURE,POWER",
    )


def _bandwidth(measured: Measured, networks: Sequence[Network]) -> Iterator[tuple[str, Finding]]:
    names, values = measured.names, measured.bandwidth
    culprits = find_culprits(values, _OF_USUAL[measured.backend])
    normal = f"{culprits.usual / GB:.3g} GB/s"
    for node in culprits.nodes:
        best = max(value for pair, value in values.items() if node in pair)
        found = f"{best / GB:.3g} GB/s to other nodes, which reach {normal} among each other"
        yield names[node], warn("network", found, _network_remedy(networks[node]))
    for one, other in culprits.links:
        found = f"{values[one, other] / GB:.3g} GB/s to {names[other]}, others reach {normal}"
        yield names[one], warn("network", found, "look at the cables and switches between both")
    expected = expected_between(measured, networks)
    if culprits.usual < _OF_LINK * expected:
        found = f"{normal} between nodes, whose links should give {expected / GB:.3g}"
        yield "", warn("network", found, _network_remedy(networks[0]))


def _network_remedy(network: Network) -> str:
    interface = network.interface or "NAME"
    return (
        f"ethtool {interface}; ethtool -S {interface} | grep -i -e err -e drop; ibstat; or choose "
        "another network: launch/environment.sh names the variables"
    )


def _latency(measured: Measured) -> Iterator[tuple[str, Finding]]:
    names, values = measured.names, measured.latency
    culprits = find_culprits({pair: 1 / value for pair, value in values.items()}, _LATENCY)
    normal = f"{1 / culprits.usual / MICROSECOND:.0f} us"
    remedy = "ping, and tc qdisc show there; see who else uses its network and cores"
    for node in culprits.nodes:
        best = min(value for pair, value in values.items() if node in pair)
        if best > _NOTICED:
            found = f"{best / MICROSECOND:.0f} us to other nodes, which take {normal}"
            yield names[node], warn("latency", found, remedy)
    for one, other in culprits.links:
        if values[one, other] > _NOTICED:
            found = f"{values[one, other] / MICROSECOND:.0f} us to {names[other]}, others {normal}"
            yield names[one], warn("latency", found, remedy)


def _sum_over_all(measured: Measured, networks: Sequence[Network]) -> Iterator[tuple[str, Finding]]:
    """When all send at once: switches that are oversubscribed, paths that collide, a bad choice."""
    sums = [each for each in measured.sums if each.scope == "all"]
    if not sums:
        return
    largest = max(sums, key=lambda each: each.bytes)
    pairs = min(measured.bandwidth.values())
    if measured.backend == "gloo":  # its ring has one connection between two nodes
        pairs = min(pair.bytes_per_second for pair in measured.pairs)
    within = _rates_within(measured)
    limits = {"pairs of nodes": pairs, "their links": expected_between(measured, networks)}
    for whose, limit in limits.items():
        rate = min([limit, *([max(within)] if within else [])])
        if not rate:
            continue
        # A ring passes every part on 2 (n-1) times, of which those within nodes are no matter.
        passes = 2 * (len(measured.names) - 1)
        moved = largest.bus_bytes_per_second * largest.seconds
        possible = moved / rate + passes * statistics.median(measured.latency.values())
        if possible < _OF_SUM[measured.backend] * largest.seconds:
            found = (
                f"a sum of {largest.bytes / 1e6:.3g} MB over all takes {largest.seconds * 1e3:.3g} "
                f"ms, {whose} would do it in {possible * 1e3:.3g} when nobody else sends"
            )
            remedy = "NCCL_DEBUG=INFO tells what NCCL takes; see the switches, and who else sends"
            yield "", warn("sum over all", found, remedy)
            return


def _host_links(measured: Measured, machines: Sequence[Machine]) -> Iterator[tuple[str, Finding]]:
    for (node, place), speed in measured.devices.items():
        rate, expected = speed.host_bytes_per_second, machines[node].pcie
        if 0 < rate < _OF_HOST * expected:
            found = f"copies to the GPU: {rate / GB:.3g} GB/s of PCIe's {expected / GB:.3g}"
            remedy = (
                f"nvidia-smi topo -m; nvidia-smi -i {place} -q -d PERFORMANCE; "
                "numactl, or the launch scripts' binding, keeps to the socket of the GPU"
            )
            yield measured.names[node], warn(_called(measured, place), found, remedy)


def _rates_within(measured: Measured) -> list[float]:
    """Bytes per second of the sums of each node by itself."""
    scope = "all" if len(measured.names) == 1 else "node"
    return [each.bus_bytes_per_second for each in measured.sums if each.scope == scope]


def _within_nodes(measured: Measured, machines: Sequence[Machine]) -> Iterator[tuple[str, Finding]]:
    rates = _rates_within(measured)
    kind, share = "NVLink", _OF_NVLINK
    expected = min((machine.nvlink for machine in machines), default=0.0)
    if not expected:
        kind, share = "PCIe", _OF_PCIE
        expected = min((machine.pcie for machine in machines), default=0.0)
    if rates and max(rates) < share * expected:
        found = f"{max(rates) / GB:.3g} GB/s in a sum, {kind} should give {expected / GB:.0f}"
        remedy = "nvidia-smi topo -m; nvidia-smi nvlink -s; NCCL_DEBUG=INFO tells what NCCL takes"
        yield "", warn("links within a node", found, remedy)


def expected_between(measured: Measured, networks: Sequence[Network]) -> float:
    """Bytes per second that each node should reach to others; 0 where some do not tell."""
    return min(expected_bandwidth(network, measured.backend) for network in networks)


def expected_bandwidth(network: Network, backend: str) -> float:
    """Bytes per second that the processes of a node should reach; 0 where unknown."""
    speed = network.expected(backend)
    return min(speed, _GLOO) if backend == "gloo" else speed


def describe(measured: Measured, machines: Sequence[Machine]) -> list[str]:
    """What was measured, in some lines."""
    lines = []
    if measured.pairs:
        rate = usual(list(measured.bandwidth.values())) / GB
        latency = statistics.median(measured.latency.values()) / MICROSECOND
        lines.append(f"between nodes: {rate:.3g} GB/s in each direction, {latency:.0f} us")
        networks = [machine.network for machine in machines]
        silent = {each.interface for each in networks if not each.expected(measured.backend)}
        if silent:
            which = ", ".join(sorted(silent - {""})) or "the interface"
            lines.append(f"what that should be is unknown: the driver of {which} tells no speed")
    sums = [each for each in measured.sums if each.scope == "all"]
    if sums:
        largest = max(sums, key=lambda each: each.bytes)
        lines.append(
            f"a sum of {largest.bytes / 1e6:.3g} MB over {largest.processes} processes by "
            f"{measured.backend}: {largest.seconds * 1e3:.3g} ms "
            f"({largest.bus_bytes_per_second / GB:.3g} GB/s)"
        )
    return lines
