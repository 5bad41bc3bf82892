"""Probing many clips at once, each in a process that may crash or hang without harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from tdn.pipelines.files.subprocess_workers import Lost, run_tasks
from tdn.pipelines.indexing.probe import Probe, Request

_TASK = "tdn.pipelines.indexing.probe:probe"
_TIMEOUT = 120.0
"""Seconds after which a worker is taken for hung; reading a file of 10 GB takes about as long."""


def probe_clips(
    requests: Sequence[Request],
    workers: int,
    done: Callable[[int, Probe], object] = lambda _row, _probe: None,
) -> list[Probe]:
    """Probe clips in parallel.

    Args:
        requests: What to probe.
        workers: Subprocesses to use, at most one per clip.
        done: Called after every clip with its number and result.

    Returns:
        One result per request, in order.
    """
    results = [Probe()] * len(requests)
    workers = min(workers, len(requests))
    with closing(run_tasks(_TASK, requests, workers, timeout=_TIMEOUT)) as answers:
        for row, answer in answers:
            lost = isinstance(answer, Lost)
            results[row] = Probe(problem=f"{answer.cause} the decoder") if lost else answer
            done(row, results[row])
    return results
