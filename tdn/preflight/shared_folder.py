"""Whether all nodes see the run folder: a file that the first writes, and the others look for."""

from __future__ import annotations

import contextlib
import platform
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tdn.doctor.findings import Finding, fail
from tdn.doctor.storage import OUTPUT
from tdn.errors import UserError
from tdn.files import write_text_atomically
from tdn.preflight.roll_call import Roll

_PATIENCE = 20.0
"""Seconds until a file must be seen elsewhere: file systems remember what was not there, a bucket's
mount by rclone for ten seconds."""
_POLL = 0.25


@contextmanager
def shown(output: Path | None, roll: Roll) -> Iterator[None]:
    """On the first of several nodes, put a file into the run folder for the others to see."""
    if output is None or roll.nodes == 1 or not roll.is_first:
        yield
        return
    path = output / f".preflight-{uuid.uuid4().hex}"
    try:
        write_text_atomically(path, platform.node(), lasting=True)
    except UserError:  # the check of the folder says why
        roll.board.write("shown", "")
        yield
        return
    roll.board.write("shown", path.name)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def judge(output: Path | None, roll: Roll) -> Iterator[Finding]:
    """What to say of the run folder on a node that is not the first; called by all."""
    if output is None or roll.nodes == 1 or roll.is_first:
        return
    deadline = time.monotonic() + _PATIENCE
    name = roll.board.read("shown", wait=_PATIENCE)
    if not name:
        return
    while not (output / name).exists():
        if time.monotonic() > deadline:
            yield fail(
                "run folder",
                f"{output.absolute()}: what {roll.names[0]} writes there is not seen here",
                f"{OUTPUT} on a file system that all nodes share",
            )
            return
        time.sleep(_POLL)
