"""Probing many files at once, each in a process that may crash or hang without harm.

Decoders are C code and the files are foreign: a worker that dies or stops answering costs its own
file, which is then known by name, and is replaced. Workers are plain subprocesses rather than
``multiprocessing`` ones, so that a user's script needs no ``__main__`` guard.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tdn.pipelines.probe import Probe, Request

_TIMEOUT = 120.0
"""Seconds after which a worker is taken for hung; reading a file of 10 GB takes about as long."""


def usable_cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def probe_clips(
    requests: Sequence[Request],
    workers: int,
    done: Callable[[int, Probe], object] = lambda _row, _probe: None,
) -> list[Probe]:
    """Probe clips in parallel.

    Args:
        requests: What to probe.
        workers: Subprocesses to use, at most one per clip.
        done: Called after every clip with its number and result, from any thread.

    Returns:
        One result per request, in order.
    """
    results = [Probe()] * len(requests)
    queue = iter(range(len(requests)))
    lock = threading.Lock()
    stop = threading.Event()

    def serve() -> None:
        worker = _Worker()
        try:
            while not stop.is_set():
                with lock:
                    row = next(queue, None)
                if row is None:
                    return
                results[row] = worker.probe(requests[row])
                done(row, results[row])
        finally:
            worker.stop()

    with ThreadPoolExecutor(workers) as pool:
        try:
            for serving in [pool.submit(serve) for _ in range(min(workers, len(requests)))]:
                serving.result()
        except BaseException:
            stop.set()  # each worker finishes its file, not the list
            raise
    return results


class _Worker:
    """One subprocess: a request in, a probe out, each a line of JSON."""

    def __init__(self, command: Sequence[str] = (sys.executable, "-m", __name__)) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def probe(self, request: Request) -> Probe:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answered = bool(select.select([process.stdout], [], [], _TIMEOUT)[0])
            answer = process.stdout.readline() if answered else ""
        except BrokenPipeError:
            answered, answer = True, ""
        if answer:
            return Probe(*json.loads(answer))
        self.stop()
        what = "crashes" if answered else f"stops for {_TIMEOUT:.0f} s"
        return Probe(problem=f"{what} the decoder")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        # The worker must find the package where this process found it.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which ends its workers
        )
        return self._process


def _serve() -> None:
    """The subprocess: answers until its input ends."""
    from tdn.pipelines.probe import probe

    for line in sys.stdin:
        print(json.dumps(probe(Request(*json.loads(line)))), flush=True)


if __name__ == "__main__":
    _serve()
