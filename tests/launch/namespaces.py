"""Network namespaces, and a guardian that removes those of a test, also of one that was killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

SEARCH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
TIME_LIMIT = 60
"""Seconds for processes to end that were killed."""


class Guardian:
    """Removes all namespaces whose names begin in one way, with what runs there and their files.

    Args:
        prefix: Of their names, up to a hyphen.
    """

    def __init__(self, prefix: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, prefix], stdin=subprocess.PIPE, start_new_session=True
        )

    def finish(self) -> None:
        """Have them removed now."""
        self._process.communicate(timeout=2 * TIME_LIMIT)
        assert self._process.returncode == 0


def ip(*words: str) -> str:
    """What the program says.

    Raises:
        subprocess.CalledProcessError: It fails.
    """
    program = shutil.which("ip", path=SEARCH)
    assert program is not None
    return subprocess.run([program, *words], check=True, capture_output=True, text=True).stdout


def folder_of(space: str) -> Path:
    """Where the files of a namespace are that stand in for those of /etc."""
    return Path("/etc/netns", space)


def processes_in(space: str) -> list[int]:
    """Those of a namespace."""
    return [int(word) for word in ip("netns", "pids", space).split()]


def kill_all_in(space: str) -> None:
    """Kill them, until none is left."""
    deadline = time.monotonic() + TIME_LIMIT
    while processes := processes_in(space):
        assert time.monotonic() < deadline, f"{processes} of {space} do not end"
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


def those_of(prefix: str) -> list[str]:
    """The names of the namespaces that begin with a prefix and a hyphen."""
    names = [line.split()[0] for line in ip("netns", "list").splitlines()]
    return [name for name in names if name.startswith(f"{prefix}-")]


def main() -> None:
    """The guardian: waits for the end of its input, or of who writes it."""
    prefix = sys.argv[1]
    sys.stdin.read()
    for space in those_of(prefix):
        kill_all_in(space)
        ip("netns", "delete", space)
    for folder in Path("/etc/netns").glob(f"{prefix}-*"):
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
