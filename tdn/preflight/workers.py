"""The workers of a node, seen from the process that starts them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from types import TracebackType

from tdn.preflight.worker import Plan


class Workers:
    """Processes that load torch at once, and measure when they are told to.

    Args:
        count: How many there are to be.
    """

    def __init__(self, count: int) -> None:
        command = [sys.executable, "-m", "tdn.preflight.worker"]
        # They must find the package where this process found it.
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._processes = [
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=sys.stderr,  # of NCCL, if NCCL_DEBUG is set
                text=True,
                env={**os.environ, **path},
                start_new_session=True,  # Ctrl-C is the starting process's
            )
            for _ in range(count)
        ]

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)  # one that waits for a broken driver cannot even be killed

    def begin(self, plan: Plan) -> None:
        """Tell every worker what to do."""
        for place, process in enumerate(self._processes):
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # has ended: ``ended`` tells
                process.stdin.write(dataclasses.replace(plan, place=place).to_json() + "\n")
                process.stdin.flush()

    def ended(self) -> dict[int, int]:
        """Exit statuses of those that have ended, by their number on this node."""
        statuses = {place: process.poll() for place, process in enumerate(self._processes)}
        return {place: status for place, status in statuses.items() if status is not None}
