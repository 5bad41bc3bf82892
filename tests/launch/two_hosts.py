"""Two hosts on this machine: network namespaces with a link between them, names and processes.

They share nothing but the file system, as hosts with a shared folder do. Names are unique, so that
several pairs stand side by side.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.launch import namespaces
from tests.launch.namespaces import SEARCH, Guardian, ip
from tests.launch.real_clusters import unavailable

NAMES = ("h0", "h1")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
NEEDED = ("ip", "unshare", "bash")

ENTER = """#!/usr/bin/env bash
# As ssh: [OPTIONS] HOST COMMAND, which a shell there reads.
while [[ "$1" == -* ]]; do shift; done
PATH="$PATH:/usr/sbin:/sbin"
exec ip netns exec PREFIX-"$1" unshare --uts bash -c '
  echo "$0" > /proc/sys/kernel/hostname && exec bash -c "$1"' "$1" "${*:2}"
"""


class TwoHosts:
    """The hosts, by their place 0 or 1.

    Args:
        folder: For the program that enters them.
    """

    def __init__(self, folder: Path) -> None:
        self._prefix = f"tdn-{os.getpid()}"
        self._link = f"tdn{os.getpid()}"
        self._guardian = Guardian(self._prefix)
        self.ssh = folder / "ssh"
        self.ssh.write_text(ENTER.replace("PREFIX", self._prefix))
        self.ssh.chmod(0o755)

    def set_up(self) -> None:
        """Make both, with a link between them.

        Raises:
            subprocess.CalledProcessError: This machine does not let one.
        """
        known = "".join(f"{a} {n}\n" for a, n in zip(ADDRESSES, NAMES, strict=True))
        for name in NAMES:
            ip("netns", "add", self._space(name))
            folder = namespaces.folder_of(self._space(name))
            folder.mkdir(parents=True)
            (folder / "hosts").write_text(f"127.0.0.1 localhost\n{known}")
        ends = [(f"{self._link}-{place}", self._space(NAMES[place])) for place in (0, 1)]
        (end, space), (peer, peer_space) = ends
        ip("link", "add", end, "netns", space, "type", "veth", "peer", peer, "netns", peer_space)
        for (device, within), address in zip(ends, ADDRESSES, strict=True):
            ip("-n", within, "address", "add", f"{address}/24", "dev", device)
            ip("-n", within, "link", "set", "lo", "up")
            ip("-n", within, "link", "set", device, "up")
        subprocess.run([self.ssh, NAMES[0], "true"], check=True, capture_output=True)

    def tear_down(self) -> None:
        """End everything on them and remove them."""
        self._guardian.finish()

    def words(self, place: int, *words: str | Path) -> list[str | Path]:
        """A command as one that is carried out on a host, in the folder where this process is."""
        return [self.ssh, NAMES[place], shlex.join(map(str, words))]

    def cut(self) -> None:
        """Pull the cable out of the second host."""
        ip("-n", self._space(NAMES[1]), "link", "set", f"{self._link}-1", "down")

    def mend(self) -> None:
        """Put it back."""
        ip("-n", self._space(NAMES[1]), "link", "set", f"{self._link}-1", "up")

    def processes(self, place: int) -> list[int]:
        """Those of a host."""
        return namespaces.processes_in(self._space(NAMES[place]))

    def kill(self, place: int) -> None:
        """Turn a host off."""
        namespaces.kill_all_in(self._space(NAMES[place]))

    def _space(self, name: str) -> str:
        return f"{self._prefix}-{name}"


@contextmanager
def two_hosts(folder: Path) -> Iterator[TwoHosts]:
    """Two hosts, or the test is skipped and counted: in a container without the right to make them.

    Args:
        folder: For a small file.
    """
    missing = [name for name in NEEDED if shutil.which(name, path=SEARCH) is None]
    if missing:
        unavailable("TDN_NEEDS_SLURM", f"two hosts need {', '.join(missing)}")
    hosts = TwoHosts(folder)
    try:
        try:
            hosts.set_up()
        except (subprocess.CalledProcessError, OSError) as error:
            why = getattr(error, "stderr", None) or str(error)
            unavailable("TDN_NEEDS_HOSTS", f"two hosts need network namespaces: {why.strip()}")
        yield hosts
    finally:
        hosts.tear_down()
