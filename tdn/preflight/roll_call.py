"""Meeting the other nodes: who came, and by when.

The nodes meet at a store of torch, before ``torchrun`` does: where one of them does not come, it
would only say that nobody else is to be waited for, after ten minutes.
"""

from __future__ import annotations

import ipaddress
import json
import platform
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, TypeVar

import torch.distributed as dist

from tdn.errors import UserError
from tdn.preflight.cluster import Cluster
from tdn.preflight.deadline import in_time
from tdn.training.processes.board import Board

LAST_CALL = 10.0
"""Seconds in which another node may still come, where the run could do without it."""
_TELL_AFTER = 10.0
_POLL = 0.1
_TOLD = 8
"""Missing nodes that are named."""
_MARGIN = 5.0
"""Seconds that others are given beyond the first node's patience."""

_Answer = TypeVar("_Answer")


class AbsenceError(UserError):
    """Nodes are missing: no mistake in what was given, and perhaps gone at the next start.

    Args:
        message: Who is there.
        tells: Whether this node is the one that says so.
    """

    def __init__(self, message: str, tells: bool = True) -> None:
        super().__init__(message)
        self.tells = tells


class Roll(NamedTuple):
    """The nodes that came."""

    board: Board
    """Where they read what each has found."""
    store: dist.Store
    """What keeps the board: a part, by this name, of what is at this address."""
    prefix: str
    host: str
    port: int
    node: int
    """This one's number."""
    names: tuple[str, ...]
    """All hosts, by number; a name that several have goes with the number."""
    ahead: float
    """Seconds that this machine's clock is ahead of the first node's, to a few tenths."""
    waited: float
    """Seconds that the first node has waited for the others."""

    @property
    def is_first(self) -> bool:
        """Whether this is the node that compares and tells."""
        return self.node == 0

    @property
    def nodes(self) -> int:
        """How many there are."""
        return len(self.names)


def call(
    cluster: Cluster, wait: float, say: Callable[[str], object], last_call: float = LAST_CALL
) -> Roll:
    """Meet the other nodes.

    Args:
        cluster: Who is expected, and where.
        wait: Seconds for them to come.
        say: Told once who is waited for, if that takes long.
        last_call: Seconds for nodes that the run could do without.

    Raises:
        AbsenceError: The first node does not answer, or not all came: names those that did.
        UserError: The address is another program's.
    """
    began = time.monotonic()
    deadline = began + wait
    connection, keeps = _open_store(cluster, deadline)
    store = dist.PrefixStore(cluster.prefix, connection)

    def take_place() -> tuple[Board, int]:
        board = Board(store)
        if cluster.node is not None:
            return board, cluster.node
        return board, 0 if keeps else int(store.add("places", 1))

    board, place = _asked(cluster, deadline, take_place)
    board.write(f"here {place}", cluster.name or platform.node())
    if place == 0:
        came = _wait_for_all(board, cluster, deadline, say, last_call)
        waited = time.monotonic() - began
        board.write("roll", json.dumps({"came": came, "time": time.time(), "waited": waited}))
    else:
        text = board.read("roll", wait=max(0.0, deadline - time.monotonic()) + _MARGIN)
        if text is None:
            raise AbsenceError(
                f"{cluster.host}:{cluster.port}: the first node does not answer; see its messages"
            )
    roll = json.loads(board.read("roll", wait=_MARGIN) or "{}")
    ahead = time.time() - roll["time"]
    came = {int(number): name for number, name in roll["came"].items()}
    if len(came) < cluster.fewest:
        raise AbsenceError(_missing(cluster, came, wait), tells=place == 0)
    if place not in came:
        raise AbsenceError(
            f"{platform.node()}: came too late, the others went on; start all nodes together"
        )
    port = connection.port
    node = sorted(came).index(place)
    names = _distinct(list(came.values()))
    return Roll(
        board, store, cluster.prefix, cluster.host, port, node, names, ahead, roll["waited"]
    )


def _wait_for_all(
    board: Board,
    cluster: Cluster,
    deadline: float,
    say: Callable[[str], object],
    last_call: float,
) -> dict[int, str]:
    """Names of the nodes that came, by place: all, or those that were there in time."""
    came: dict[int, str] = {}
    started = newest = time.monotonic()
    told = False
    while len(came) < cluster.most:
        for place in range(cluster.most):
            name = None if place in came else board.read(f"here {place}")
            if name is not None:
                came[place] = name
                newest = time.monotonic()
        now = time.monotonic()
        if now > deadline or (len(came) >= cluster.fewest and now - newest > last_call):
            break
        if not told and now - started > _TELL_AFTER:
            told = True
            missing = cluster.most - len(came)
            say(
                f"waiting for {missing} of {cluster.most} nodes{_who(cluster, came)}; here: "
                f"{', '.join(came.values())}"
            )
        time.sleep(_POLL)
    return dict(sorted(came.items()))


def _missing(cluster: Cluster, came: dict[int, str], wait: float) -> str:
    missing = cluster.fewest - len(came)
    return (
        f"{missing} of {cluster.fewest} nodes{_who(cluster, came)} did not come within "
        f"{wait:.0f} s; these did: {', '.join(_distinct(list(came.values())))}; see the "
        f"messages of the others, and whether they reach {cluster.host}:{cluster.port}; "
        "TDN_PREFLIGHT_WAIT=SECONDS waits longer"
    )


def _who(cluster: Cluster, came: Mapping[int, str]) -> str:
    """Who is missing, as far as that is known, in brackets."""
    if cluster.node is None:
        return ""
    numbers = [f"number {place}" for place in range(cluster.most)]
    called = [*cluster.names, *numbers[len(cluster.names) :]]
    told = [name for place, name in enumerate(called) if place not in came]
    return f" ({', '.join(told[:_TOLD])}{', ...' if len(told) > _TOLD else ''})"


def _open_store(cluster: Cluster, deadline: float) -> tuple[dist.TCPStore, bool]:
    """The store, and whether this process keeps it."""
    address, keeps = (cluster.host, cluster.port), cluster.keeps_store
    if address[1] == 0:
        return _server(address), True
    while True:
        if keeps or (keeps is None and _is_here(cluster.host)):
            try:
                return _server(address), True
            except RuntimeError:  # perhaps of another node on this machine, whose store it is
                if keeps:
                    raise UserError(
                        f"port {cluster.port} of {cluster.host}: is taken by another program; "
                        "choose another port for PET_RDZV_ENDPOINT or PET_MASTER_PORT"
                    ) from None
        if _answers(address):
            break
        if time.monotonic() > deadline:
            raise AbsenceError(
                f"{cluster.host}:{cluster.port}: does not answer {platform.node()}; see whether "
                "the first node has started, and whether a firewall is in between"
            )
        time.sleep(_POLL)
    patience = timedelta(seconds=_MARGIN)
    try:
        store = _asked(
            cluster, deadline, lambda: dist.TCPStore(*address, is_master=False, timeout=patience)
        )
        return store, False
    except RuntimeError:
        raise UserError(
            f"{cluster.host}:{cluster.port}: answers {platform.node()}, but not as the first node "
            "of a preflight; choose another port for PET_RDZV_ENDPOINT or PET_MASTER_PORT"
        ) from None


def _asked(cluster: Cluster, deadline: float, question: Callable[[], _Answer]) -> _Answer:
    """What the store answers to the first questions, which may be put to whatever listens there.

    Raises:
        AbsenceError: It does not answer.
    """
    try:
        return in_time(question, max(_MARGIN, deadline - time.monotonic()))
    except TimeoutError:
        raise AbsenceError(
            f"{cluster.host}:{cluster.port}: takes calls of {platform.node()} and never answers; "
            "see whether the first node hangs, or another program has this port: ss -tlnp there"
        ) from None


def _server(address: tuple[str, int]) -> dist.TCPStore:
    return dist.TCPStore(*address, is_master=True, wait_for_workers=False)


def _answers(address: tuple[str, int]) -> bool:
    """Whether somebody listens there; torch's store would tell of every try at length."""
    try:
        socket.create_connection(address, timeout=2).close()
    except OSError:
        return False
    return True


def _is_here(host: str) -> bool:
    """Whether an address is this machine's: the system would also send from it."""
    try:
        found = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)
    except OSError:  # a name that is not known yet, as that of a container that is being started
        return False
    for family, kind, _, _, address in found:
        try:
            with socket.socket(family, kind) as probe:
                probe.connect(address)
                source = probe.getsockname()[0]
        except OSError:
            continue
        target = str(address[0])
        if source == target or ipaddress.ip_address(target.partition("%")[0]).is_loopback:
            return True
    return False


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    counts = Counter(names)
    return tuple(
        f"{name}#{number}" if counts[name] > 1 else name for number, name in enumerate(names)
    )
