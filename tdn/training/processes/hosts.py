"""The hosts of a run: what each is called, and whether it is still there.

A machine that loses its power or its network says nothing: who waits for it in a collective waits
for half an hour. So the first process of each host gives signs of life on the board, and the main
process looks for them. The board is on the main process's own host, so that for everyone else the
board's silence is that of this host.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch.distributed as dist

from tdn.training.processes.board import Alarm, Board

LOST = os.EX_NOHOST
"""Exit status of a run that has lost a host."""

LIFE_EVERY = 1.0
"""Seconds between a host's signs of life; less where they are missed sooner."""

_LEFT = "left"
"""The last sign of a host that ends its run in order."""


class Place(NamedTuple):
    """Where among the hosts a process is."""

    host: int
    hosts: int
    speaks: bool
    """Whether it is the first process of its host."""


def this_place() -> Place:
    """This process's place, by what ``torchrun`` says; without it there is one host."""
    number, count = (int(os.environ.get(key, default)) for key, default in _PLACES)
    return Place(number, count, speaks=os.environ.get("LOCAL_RANK", "0") == "0")


_PLACES = (("GROUP_RANK", "0"), ("GROUP_WORLD_SIZE", "1"))


def introduce(store: dist.Store) -> None:
    """Put this host's name and address where all will look, before the group is formed.

    Args:
        store: Where the board will be.
    """
    place = this_place()
    if place.speaks:
        store.set(_name(place.host), platform.node())
        store.set(_life(place.host), "")
        with contextlib.suppress(OSError, KeyError):
            store.set(_address(_own_address()), platform.node())


def open_board(store: dist.Store) -> Board:
    """The board of processes whose hosts are all introduced."""
    return Board(store, host=store.get(_name(0)).decode())


def find_host(message: str, board: Board) -> str | None:
    """The name of the host whose address is in an error of gloo's, if it can be told."""
    found = re.search(r"\[([0-9a-fA-F.:]+)\]:\d+", message)
    name = found and board.read(_address(found[1]))
    return name if board.answers else board.host  # which has ended with the store


class HostWatch:
    """Gives signs of life for this host, and notices when another host gives none.

    Args:
        timeout: Seconds of silence after which a host is lost, ``training.host_timeout``; 0 never.
        rank: This process.
        board: Of the run.
    """

    def __init__(self, timeout: float, rank: int, board: Board) -> None:
        place = this_place()
        self._place = place
        self._rank = rank
        self._board = board
        self._timeout = timeout if place.hosts > 1 else 0.0
        self.every = min(LIFE_EVERY, timeout / 4) if self._timeout else LIFE_EVERY
        """Seconds in which it should look again."""
        self._count = 0
        self._others = range(1, place.hosts if self._timeout and self.judges else 1)
        self._signs = [""] * len(self._others)
        self._excused_at = time.monotonic()
        self._heard_at = [self._excused_at] * len(self._others)

    @property
    def judges(self) -> bool:
        """Whether this process, the main one, looks for the signs of the other hosts."""
        return self._rank == 0

    def excuse(self) -> None:
        """This process was suspended: what it has not heard meanwhile does not count."""
        self._excused_at = time.monotonic()

    def look(self) -> Alarm | None:
        """Give a sign of life, and look for the others'; an alarm if a host is lost."""
        if not self._timeout:
            return None
        if self.judges:
            silent = self._silent_hosts()
        else:
            if self._place.speaks:
                self._count += 1
                self._board.write(_life(self._place.host), str(self._count))
            silent = [str(self._board.host)] if self._is_long_ago(self._board.heard_at) else []
        return Alarm(self._rank, LOST, _message(silent, self._timeout)) if silent else None

    def leave(self) -> None:
        """This process ends in order, or for a reason that is told otherwise."""
        if self._timeout and self._place.speaks and not self.judges:
            self._board.write(_life(self._place.host), _LEFT)

    def _silent_hosts(self) -> list[str]:
        """Their names; where the store does not answer now, the next look asks again."""
        signs = self._board.read_all([_life(host) for host in self._others])
        if signs is None:
            return []
        now = time.monotonic()
        for number, (sign, former) in enumerate(zip(signs, self._signs, strict=True)):
            if sign == _LEFT or sign != former:
                self._heard_at[number] = now
        self._signs = signs
        heard = zip(self._others, self._heard_at, strict=True)
        silent = [_name(host) for host, heard_at in heard if self._is_long_ago(heard_at)]
        return (self._board.read_all(silent) or []) if silent else []

    def _is_long_ago(self, moment: float) -> bool:
        return time.monotonic() - max(moment, self._excused_at) > self._timeout


def _message(silent: Sequence[str], seconds: float) -> str:
    names = ", ".join(silent[:8]) + (f" and {len(silent) - 8} more" if len(silent) > 8 else "")
    hosts = f"host{'s' if len(silent) > 1 else ''} {names}"
    return (
        f"lost {hosts}: no sign of life for {seconds:g} s (off, stopped, or cut from the network); "
        "start the same command again to go on"
    )


def _own_address() -> str:
    """This host's address on the network of the rendezvous."""
    target = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    family, kind, *_, address = socket.getaddrinfo(*target, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # of a datagram socket: nothing is sent
        return str(probe.getsockname()[0])


def _name(host: int) -> str:
    return f"host {host}"


def _life(host: int) -> str:
    return f"life of host {host}"


def _address(address: str) -> str:
    return f"host at {address}"
