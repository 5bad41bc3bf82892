"""Being asked to stop: a signal is noticed between two steps, by all processes at the same one.

Schedulers warn before they take a machine away (SIGTERM from Kubernetes and torchrun, SIGUSR2 as
the Slurm script asks for; not SIGUSR1, which NCCL catches), and people press Ctrl-C. The run then
writes a checkpoint and ends; a second Ctrl-C ends it at once.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist

from tdn.training.distributed import EXPECTED, Processes

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class StopRequest:
    """A request to stop, agreed on by all processes. A context: signals are caught inside."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._asked = False
        self._pending: tuple[torch.Tensor, dist.Work] | None = None
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # only there Python allows it
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as in a script's background
                    self._former[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        if self._pending is not None and (error is None or isinstance(error, EXPECTED)):
            self._pending[1].wait()  # leaving with a question in the air would hang

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - Python's shape
        self._asked = True
        if signal.SIGINT in self._former:
            signal.signal(signal.SIGINT, self._former[signal.SIGINT])

    @property
    def asked(self) -> bool:
        """Whether this process was asked to stop; the others may not know yet."""
        return self._asked

    def agreed(self) -> bool:
        """Whether to stop now. All processes call this after each step and get the same answer.

        The question goes round while the next step runs and its answer is read one step later, so
        that nobody waits for it.
        """
        if self._processes.alone:
            return self._asked
        answer = False
        if self._pending is not None:
            flag, work = self._pending
            work.wait()
            answer = bool(flag.item())
        flag = torch.tensor(int(self._asked))
        self._pending = flag, dist.all_reduce(flag, dist.ReduceOp.MAX, async_op=True)
        return answer
