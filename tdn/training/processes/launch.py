"""Which launch a process belongs to, by what ``torchrun`` and the cluster say in the environment.

A launch is one ``torchrun``. It starts the processes again after one of them has ended, with the
same command: what that asks for once, such as to start over, holds for the launch and not for each
of its starts; and a launch that was asked to stop is not to go on because it is started again.
A cluster launches a job again that it has put back into its queue: the command is the same, too.
"""

from __future__ import annotations

import os
import subprocess
from typing import NamedTuple


class Launch(NamedTuple):
    """A start of a launch."""

    name: str | None
    """The launch's; None without ``torchrun``. Not unique: that is up to --rdzv-id."""
    restarts: int
    """How often this machine's ``torchrun`` has started the processes again."""
    job: str | None = None
    """The job that it belongs to, and no other job; None where nothing launches again by itself."""

    @property
    def beginner(self) -> str | None:
        """Who begins a run, once: the job, or else the launch."""
        return self.job or self.name


def this_launch() -> Launch:
    """The start that this process belongs to."""
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    return Launch(os.environ.get("TORCHELASTIC_RUN_ID"), restarts, os.environ.get("TDN_JOB"))


DEAF = 5.0
"""Seconds in which torchrun notices that one of its processes has ended; it looks all the time."""

_IF_DEAF = """
sleep "$1"
if grep -q "^State:.Z" "/proc/$2/status" && grep -q "^PPid:.$3$" "/proc/$2/status"; then
  kill -9 "$3"
fi
"""


def end_deaf_launcher(launcher: int) -> None:
    """Have ``torchrun`` killed unless it notices the end of this process, which is to follow.

    It asks its rendezvous in a call that nothing but the kernel ends: where the host that keeps it
    is lost, it hears no signal and starts nothing again for a quarter of an hour. A process that it
    has not taken leave of stays behind as a zombie.

    Args:
        launcher: The process that started this one. Where that has ended, nobody is killed: least
            of all who has taken its place.
    """
    subprocess.Popen(
        ["/bin/sh", "-c", _IF_DEAF, "sh", f"{DEAF:g}", str(os.getpid()), str(launcher)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
