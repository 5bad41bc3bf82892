"""Work on foreign files in subprocesses that may crash or hang without harm.

Decoders are C code: a worker that dies or stops answering costs the request it was working on,
which is then known, and is replaced. Workers are plain subprocesses rather than
``multiprocessing``'s, so that a user's script needs no ``__main__`` guard.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Generator, Iterable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NamedTuple

_ALIVE, _ANSWER, _DEFECT = "alive", "answer", "defect"
_ALIVE_EVERY = 1.0
"""Seconds between signs of life."""


class Lost(NamedTuple):
    """What comes instead of an answer when a worker died or hung."""

    cause: str
    """"crashes" or "stops for 120 s"."""


def run_tasks(
    task: str, requests: Iterable[Any], workers: int, *, timeout: float
) -> Generator[tuple[int, Any], None, None]:
    """Answer requests in parallel.

    Close the iterator (``contextlib.closing``) to end the workers at once, in the middle of their
    work if need be.

    Args:
        task: Function that answers a request, "module:name".
        requests: What it is called with, one by one; anything that pickles.
        workers: Subprocesses.
        timeout: Seconds without an answer or a sign of life after which a worker is taken for hung.

    Yields:
        Number of the request, from 0, and its answer or ``Lost``; in the order of completion.

    Raises:
        RuntimeError: The task raised an exception, which is shown.
    """
    pool = [Worker(task, timeout) for _ in range(workers)]
    pending = enumerate(requests)
    lock = threading.Lock()
    results: SimpleQueue[Any] = SimpleQueue()

    def serve(worker: Worker) -> None:
        try:
            while not worker.closed:
                with lock:
                    number, request = next(pending, (-1, None))
                if number < 0:
                    break
                results.put((number, worker.ask(request)))
        except BaseException as error:
            results.put(error)
        finally:
            worker.close()
            results.put(None)

    threads = [threading.Thread(target=serve, args=(worker,), daemon=True) for worker in pool]
    for thread in threads:
        thread.start()
    serving = len(threads)
    try:
        while serving:
            result = results.get()
            if result is None:
                serving -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
    finally:
        for worker in pool:
            worker.close()
        for thread in threads:
            thread.join()


class Worker:
    """One subprocess, started when it is first asked and again after it was lost."""

    def __init__(self, task: str, timeout: float) -> None:
        self.closed = False
        self._task = task
        self._timeout = timeout
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def ask(self, request: Any) -> Any:
        """The answer to a request, or ``Lost``."""
        try:
            connection = self._connection or self._start()
            connection.send(request)
            while connection.poll(self._timeout):
                kind, value = connection.recv()
                if kind == _ANSWER:
                    return value
                if kind == _DEFECT:
                    raise RuntimeError(f"{self._task} failed:\n{value}")
        except (EOFError, OSError):
            self._end()
            return Lost("crashes")
        self._end()
        return Lost(f"stops for {self._timeout:.0f} s")

    def close(self) -> None:
        """End the subprocess, from any thread; a request that it works on is lost."""
        with self._lock:
            self.closed = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def _start(self) -> Connection:
        with self._lock:
            if self.closed:
                raise EOFError
            ours, theirs = Pipe()
            with theirs:
                # The worker must find the package where this process found it.
                path = os.pathsep.join(filter(None, sys.path))
                self._process = subprocess.Popen(
                    (sys.executable, "-m", __name__, self._task, str(theirs.fileno())),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONPATH": path},
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # Ctrl-C is for this process, which ends its workers
                )
            self._connection = ours
            return ours

    def _end(self) -> None:
        """Make way for a new subprocess."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
            if self._connection is not None:
                self._connection.close()
            self._process = self._connection = None


_parent: Connection | None = None
_last_sign = 0.0


def still_working() -> None:
    """Called by a task that may take long: the time until it is taken for hung starts anew."""
    global _last_sign
    now = time.monotonic()
    if _parent is not None and now - _last_sign >= _ALIVE_EVERY:
        _last_sign = now
        _parent.send((_ALIVE, None))


def _serve(task: str, connection: Connection) -> None:
    """The subprocess: answers until its parent is gone."""
    global _parent
    _parent = connection
    module, _, name = task.partition(":")
    function = getattr(importlib.import_module(module), name)
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        try:
            message = (_ANSWER, function(request))
        except MemoryError:  # the file's fault: like a crash
            raise
        except Exception:
            message = (_DEFECT, traceback.format_exc())
        connection.send(message)


if __name__ == "__main__":
    # As the module that tasks import, not as __main__: still_working must find the connection.
    from tdn.pipelines.files import subprocess_workers

    subprocess_workers._serve(sys.argv[1], Connection(int(sys.argv[2])))
