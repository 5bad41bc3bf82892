"""What the links of a node should give, by what the system says of them."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_INTERFACES = Path("/sys/class/net")
_ADAPTERS = Path("/sys/class/infiniband")
_GET_ADDRESS = 0x8915
"""SIOCGIFADDR of <linux/sockios.h>."""


class Network(NamedTuple):
    """The way to other nodes."""

    interface: str = ""
    """That leads to them; empty where unknown."""
    ethernet: float = 0.0
    """Bytes per second of it, in each direction; 0 where unknown."""
    infiniband: float = 0.0
    """Of the adapters for InfiniBand or RoCE that NCCL takes; 0 without any."""

    def expected(self, backend: str) -> float:
        """Bytes per second that processes should reach by nccl or gloo; 0 where unknown."""
        return (self.infiniband if backend == "nccl" else 0.0) or self.ethernet


def look(host: str, port: int, gpus: int) -> Network:
    """The way to a host, or to the others where it is this one, of a node with so many GPUs."""
    interface = _chosen(os.environ) or _interface_of(_own_address(host, port))
    return Network(interface, ethernet_speed(interface), infiniband_speed(os.environ, gpus))


def ethernet_speed(interface: str, interfaces: Path = _INTERFACES) -> float:
    """Bytes per second of an interface; 0 where its driver does not say."""
    try:
        megabits = int((interfaces / interface / "speed").read_text())
    except (OSError, ValueError):
        return 0.0
    return max(0, megabits) * 1e6 / 8


def infiniband_speed(variables: Mapping[str, str], gpus: int, adapters: Path = _ADAPTERS) -> float:
    """Bytes per second of the active ports that NCCL takes.

    Those that NCCL_IB_HCA names; else the fastest, of which each GPU takes the nearest: what there
    is beyond one for each GPU, or is slower, leads to storage or elsewhere.
    """
    if variables.get("NCCL_IB_DISABLE", "0") not in ("", "0"):
        return 0.0
    choice, rates = variables.get("NCCL_IB_HCA", ""), []
    for port in adapters.glob("*/ports/*"):
        name = f"{port.parents[1].name}:{port.name}"
        state, rate = (_text(port / file) for file in ("state", "rate"))
        found = re.match(r"[\d.]+", rate)  # "200 Gb/sec (4X HDR)"
        if "ACTIVE" in state and found and _may_use(name, choice):
            rates.append(float(found[0]) * 1e9 / 8)
    if choice.strip("^=") and not choice.startswith("^"):
        return sum(rates)
    fastest = [rate for rate in rates if rate == max(rates)]
    return sum(fastest[: max(1, gpus)])


def _may_use(name: str, choice: str) -> bool:
    """Whether NCCL_IB_HCA lets a port such as "mlx5_0:1" in: prefixes, "=" exact, "^" all but."""
    but, exactly = choice.startswith("^"), choice.lstrip("^").startswith("=")
    listed = [word for word in choice.lstrip("^=").split(",") if word]
    adapter = name.partition(":")[0]
    named = any(
        word in (name, adapter) if exactly or ":" in word else name.startswith(word)
        for word in listed
    )
    return not listed or named != but


def _chosen(variables: Mapping[str, str]) -> str:
    """The interface that a variable names, if it names one and that is there."""
    for variable in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        name = variables.get(variable, "").lstrip("=")
        if (_INTERFACES / name).exists() and name:
            return name
    return ""


def _own_address(host: str, port: int) -> str:
    """The address by which this machine speaks to a host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port or 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _interface_of(address: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode())
            try:
                answer = fcntl.ioctl(probe.fileno(), _GET_ADDRESS, request)
            except OSError:  # one without an address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
