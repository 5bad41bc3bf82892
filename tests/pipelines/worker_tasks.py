"""Tasks for workers: slow, crashing, hanging."""

from __future__ import annotations

import os
import signal
import time

from tdn.pipelines.files.subprocess_workers import still_working
from tdn.pipelines.indexing.probe import Probe, Request, probe


def work(seconds: float) -> str:
    """Work, showing signs of life."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        still_working()
        time.sleep(0.1)
    return "done"


def crash(_path: str) -> None:
    """What a decoder may do."""
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(_path: str) -> None:
    """What a decoder may do."""
    time.sleep(600)


def probe_slowly(request: Request) -> Probe:
    """As from a slow network."""
    time.sleep(0.1)
    return probe(request)
