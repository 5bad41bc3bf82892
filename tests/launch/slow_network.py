"""Three hosts on this machine: network namespaces at one switch, one of them with a slow card."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.launch.namespaces import SEARCH, Guardian
from tests.launch.real_clusters import unavailable

SWITCH = "10.78.0.254"
CARD = "eth0"
_NEEDED = ("ip", "tc")
_OF_NETWORK = 0x40000000
"""CLONE_NEWNET of <linux/sched.h>."""


class SlowNetwork:
    """The hosts, by number from 0, and the switch that joins them."""

    def __init__(self) -> None:
        self._prefix = f"tdn-slow-{os.getpid()}"
        self._guardian = Guardian(self._prefix)

    def set_up(self, slow: int, rate: str) -> None:
        """Make them; the card of one sends no faster than a rate such as 40mbit.

        Raises:
            subprocess.CalledProcessError: This machine does not let one.
        """
        switch = self._space("switch")
        _run("ip", "netns", "add", switch)
        _run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", switch, "address", "add", f"{SWITCH}/24", "dev", "br0")
        for device in ("br0", "lo"):
            _run("ip", "-n", switch, "link", "set", device, "up")
        for host in range(3):
            space, port = self._space(host), f"port{host}"
            _run("ip", "netns", "add", space)
            peer = ["type", "veth", "peer", port, "netns", switch]
            _run("ip", "link", "add", CARD, "netns", space, *peer)
            _run("ip", "-n", switch, "link", "set", port, "master", "br0", "up")
            _run("ip", "-n", space, "address", "add", f"10.78.0.{host + 1}/24", "dev", CARD)
            for device in (CARD, "lo"):
                _run("ip", "-n", space, "link", "set", device, "up")
        shape = ("root", "tbf", "rate", rate, "burst", "32kb", "latency", "50ms")
        _run("tc", "-n", self._space(slow), "qdisc", "add", "dev", CARD, *shape)

    def tear_down(self) -> None:
        """Remove them."""
        self._guardian.finish()

    def enter(self, host: int) -> None:
        """Make this process, which has no threads yet, one of a host."""
        self._enter(host)
        os.environ["GLOO_SOCKET_IFNAME"] = CARD

    def at_switch(self, make: Callable[[], Any]) -> Any:
        """What a function makes that opens its sockets at the switch."""
        with ThreadPoolExecutor(1, initializer=self._enter, initargs=("switch",)) as thread:
            return thread.submit(make).result()

    def _enter(self, place: str | int) -> None:
        """Move the calling thread."""
        space = os.open(f"/run/netns/{self._space(place)}", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(space, _OF_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(space)

    def _space(self, place: str | int) -> str:
        return f"{self._prefix}-{place}"


@contextmanager
def slow_network(slow: int, rate: str) -> Iterator[SlowNetwork]:
    """Three hosts of which one is slow, or the test is skipped and counted."""
    missing = [name for name in _NEEDED if shutil.which(name, path=SEARCH) is None]
    if missing:
        unavailable("TDN_NEEDS_HOSTS", f"a slow network needs {', '.join(missing)}")
    network = SlowNetwork()
    try:
        try:
            network.set_up(slow, rate)
        except subprocess.CalledProcessError as error:
            why = error.stderr.strip()
            unavailable("TDN_NEEDS_HOSTS", f"a slow network needs namespaces and tc: {why}")
        yield network
    finally:
        network.tear_down()


def _run(program: str, *words: str) -> None:
    path = shutil.which(program, path=SEARCH)
    subprocess.run([str(path), *words], check=True, capture_output=True, text=True)
