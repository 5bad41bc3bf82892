"""torchrun's agent, which starts and watches a node's processes, with an eye on their statuses."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torch.distributed.elastic.agent.server import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import LogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from tdn.launcher.statuses import FINAL, REQUESTS, STOPPED, TOLD, status_of_failure

_POLL = 0.1


class EndedError(Exception):
    """The processes have ended in a way that no new start would change; see ``Agent.status``."""


class Agent(LocalElasticAgent):
    """Starts the processes again only where that may help, and knows what became of them.

    Args:
        spec: What to start.
        logs_specs: Where their output goes.
        patience: Seconds for processes that are asked to stop.
    """

    def __init__(self, spec: WorkerSpec, logs_specs: LogsSpecs, patience: int) -> None:
        super().__init__(spec, logs_specs, shutdown_timeout=patience)
        self._patience = patience
        self._failures = 0
        self.status: int | None = None
        """Of the last failure, as ``statuses`` has it; None without."""
        self.left: list[int | None] = []
        """How the processes ended that this was the last to ask; None for one that did not."""

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        processes = self._processes()
        if STOPPED in map(_status, processes):
            _wait(processes, self._patience)  # the main one may still be saving
        result = super()._monitor_workers(worker_group)
        if result.is_failed():
            failures = sorted(result.failures.values(), key=lambda failure: failure.timestamp)
            self.status = status_of_failure([failure.exitcode for failure in failures])
            if self.status in FINAL:
                raise EndedError
            self._tell(next(each for each in failures if each.exitcode == self.status))
        return result

    def _shutdown(
        self, death_sig: signal.Signals = signal.SIGTERM, timeout: int = 30, **words: bool
    ) -> None:
        del timeout  # by default less than it takes to save
        processes = self._processes()
        with _passing_on(processes):
            _send(processes, death_sig)
            self.left = _wait(processes, self._patience)
            super()._shutdown(signal.SIGKILL, **words)

    def _processes(self) -> list[int]:
        return [worker.id for worker in self.get_worker_group().workers if worker.id]

    def _tell(self, failure: ProcessFailure) -> None:
        """Say which process failed, unless it did, and what follows."""
        spec = self.get_worker_group().spec
        code, limit, words = failure.exitcode, spec.max_restarts, []
        if code not in TOLD:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
            place = f"attempt_{self._failures}/{failure.local_rank}/stderr.log"
            log = Path(self._logs_specs.root_log_dir, f"{spec.rdzv_handler.get_run_id()}_*", place)
            words.append(f"process {failure.local_rank} of this node ended {how}; see {log}")
        if self._failures < limit:
            words.append(f"starting again, {self._failures + 1} of {limit}")
        self._failures += 1
        if words:
            print(f"node.sh: {'; '.join(words)}", file=sys.stderr, flush=True)


def _status(process: int) -> int | None:
    """How a child has ended, which stays to be asked for; None while it runs."""
    try:
        found = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # the agent has asked
        return None
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _is_child(process: int) -> bool:
    try:
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _wait(processes: list[int], seconds: float) -> list[int | None]:
    """Wait until all have ended; how each has."""
    children = [process for process in processes if _is_child(process)]
    deadline = time.monotonic() + seconds
    while None in (statuses := [_status(process) for process in children]):
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL)
    return statuses


def _send(processes: list[int], number: int) -> None:
    for process in processes:
        if _is_child(process) and _status(process) is None:
            with suppress(ProcessLookupError):
                os.killpg(process, number)  # each has a session of its own


@contextmanager
def _passing_on(processes: list[int]) -> Iterator[None]:
    """Pass further signals on: a second Ctrl-C is the processes' to understand."""
    former = {
        number: signal.signal(number, lambda number, _: _send(processes, number))
        for number in REQUESTS
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
