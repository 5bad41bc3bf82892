"""Which nodes a run has, and where they meet: what ``torchrun`` is told in the environment."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tdn.errors import UserError

_PORT, _MASTER_PORT = 29400, 29500
"""torchrun's, of an endpoint and of a master that come without one."""
_LAST_PORT = 65535
"""launch/node.sh gives the preflight the port after the run's."""


class Cluster(NamedTuple):
    """The nodes, seen from one of them."""

    fewest: int = 1
    """Nodes without which there is no run."""
    most: int = 1
    processes: int = 1
    """Of this node."""
    host: str = "localhost"
    """Where the nodes meet."""
    port: int = 0
    """There; 0 for any free one, of a node that is alone."""
    node: int | None = 0
    """This node's number; None where it takes the next free one."""
    keeps_store: bool | None = True
    """Whether the store is this process's; None: the one's whose address ``host`` is."""
    prefix: str = "preflight"
    """Of all that is in the store, which may be one that others use, or have used."""
    names: tuple[str, ...] = ()
    """Of all nodes, by number; nothing where only they themselves know."""
    name: str = ""
    """This node's among them; empty for the machine's own."""


def from_environment(variables: Mapping[str, str], count_gpus: Callable[[], int]) -> Cluster:
    """The nodes by the variables of ``torchrun``: those that it reads, or that it sets.

    Args:
        variables: PET_NNODES, PET_NPROC_PER_NODE and either PET_RDZV_ENDPOINT (and PET_RDZV_CONF)
            or PET_MASTER_ADDR, PET_MASTER_PORT and PET_NODE_RANK; in a process of ``torchrun``
            GROUP_WORLD_SIZE, GROUP_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT. Nothing at
            all is a single node. TDN_NODE_NAMES and TDN_NODE_PLACE are what launch/slurm.sbatch and
            launch/torchrun.sh tell of names.
        count_gpus: Asked where it matters.

    Raises:
        UserError: A value does not fit.
    """
    if "GROUP_RANK" in variables:
        return _started_by_torchrun(variables)
    fewest, most = _nodes(variables.get("PET_NNODES", "1"))
    processes = _processes(variables.get("PET_NPROC_PER_NODE", "gpu"), count_gpus)
    names, place = _names(variables)
    name = "" if place is None else names[place]
    if most == 1:
        return Cluster(processes=processes, name=name)
    cluster = Cluster(fewest, most, processes, name=name)
    if names:
        if not fewest <= len(names) <= most:
            told = variables["PET_NNODES"]
            raise UserError(f"TDN_NODE_NAMES: {len(names)} names, but PET_NNODES says {told}")
        cluster = cluster._replace(names=names)
    if variables.get("PET_RDZV_ENDPOINT"):
        host, port = _endpoint(variables["PET_RDZV_ENDPOINT"])
        keeps = _keeps_store(variables.get("PET_RDZV_CONF", ""))
        if place is not None and keeps is None:
            keeps = place == 0
        return cluster._replace(host=host, port=port, node=place, keeps_store=keeps)
    if variables.get("PET_MASTER_ADDR"):
        node = _number("PET_NODE_RANK", variables.get("PET_NODE_RANK", ""), 0)
        if node >= most:
            raise UserError(f"PET_NODE_RANK: {node}, but there are {most} nodes; count from 0")
        told = variables.get("PET_MASTER_PORT", str(_MASTER_PORT))
        port = _number("PET_MASTER_PORT", told, 1, _LAST_PORT)
        host = variables["PET_MASTER_ADDR"]
        return cluster._replace(host=host, port=port, node=node, keeps_store=node == 0)
    raise UserError(
        f"PET_NNODES: {most} nodes, but nothing says where they meet; set PET_RDZV_ENDPOINT to "
        "HOST:PORT of one of them"
    )


def _started_by_torchrun(variables: Mapping[str, str]) -> Cluster:
    nodes, node = int(variables["GROUP_WORLD_SIZE"]), int(variables["GROUP_RANK"])
    return Cluster(
        fewest=nodes,
        most=nodes,
        processes=int(variables["LOCAL_WORLD_SIZE"]),
        host=variables["MASTER_ADDR"],
        port=int(variables["MASTER_PORT"]),
        node=node,
        prefix=f"preflight {variables.get('TORCHELASTIC_RESTART_COUNT', '0')}",
        keeps_store=node == 0 and variables.get("TORCHELASTIC_USE_AGENT_STORE") != "True",
    )


def _names(variables: Mapping[str, str]) -> tuple[tuple[str, ...], int | None]:
    """Names of all nodes, and this one's place among them; nothing and None if not told."""
    names = tuple(filter(None, variables.get("TDN_NODE_NAMES", "").split(",")))
    if not names:
        return (), None
    place = _number("TDN_NODE_PLACE", variables.get("TDN_NODE_PLACE", ""), 0, len(names) - 1)
    return names, place


def _nodes(text: str) -> tuple[int, int]:
    fewest, colon, most = text.partition(":")
    low = _number("PET_NNODES", fewest, 1)
    return low, max(low, _number("PET_NNODES", most, 1)) if colon else low


def _processes(text: str, count_gpus: Callable[[], int]) -> int:
    """As ``torchrun`` reads it, but that "gpu" without a GPU is one process."""
    if text in ("gpu", "auto", "cpu"):
        gpus = 0 if text == "cpu" else count_gpus()
        return gpus or (1 if text == "gpu" else os.cpu_count() or 1)
    return _number("PET_NPROC_PER_NODE", text, 1)


def _endpoint(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():  # the colons of an address of IPv6 without a port
        host, port = text, str(_PORT)
    host = host.strip("[]")
    if not host:
        raise UserError(f"PET_RDZV_ENDPOINT: '{text}' does not name a host; give HOST:PORT")
    return host, _number("PET_RDZV_ENDPOINT", port, 1, _LAST_PORT)


def _keeps_store(settings: str) -> bool | None:
    pairs = dict(setting.strip().partition("=")[::2] for setting in settings.split(","))
    said = pairs.get("is_host")
    return None if said is None else said.lower() in ("1", "true", "t", "yes", "y")


def _number(variable: str, text: str, lowest: int, highest: int | None = None) -> int:
    if (
        not text.isdecimal()
        or int(text) < lowest
        or int(text) > (math.inf if highest is None else highest)
    ):
        to = "" if highest is None else f" to {highest}"
        raise UserError(f"{variable}: '{text}' does not fit; give a whole number from {lowest}{to}")
    return int(text)
