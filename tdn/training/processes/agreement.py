"""Questions that all processes answer together at every step, without waiting for each other."""

from __future__ import annotations

from types import TracebackType

import torch
import torch.distributed as dist

from tdn.training.processes.distributed import Processes
from tdn.training.processes.leaving import KnownError, KnownExit


class Agreement:
    """Asks after every step whether something is so on any process. A context.

    The question goes round while the next step runs and its answer is read one step later, so that
    nobody waits for it. It travels on the CPU, so the device knows nothing of it.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._pending: tuple[torch.Tensor, dist.Work] | None = None

    def __enter__(self) -> Agreement:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, (KnownError, KnownExit)):
            self._answer()  # leaving with a question in the air would hang

    def ask(self, *flags: bool) -> list[bool]:
        """Whether each flag was raised on any process at the last call.

        All processes call this after each step, with as many flags, and get the same answer.
        """
        if self._processes.alone:
            return list(flags)
        answer = self._answer() or [False] * len(flags)
        question = torch.tensor(flags, dtype=torch.int32)
        self._pending = question, dist.all_reduce(question, dist.ReduceOp.MAX, async_op=True)
        return answer

    def _answer(self) -> list[bool] | None:
        if self._pending is None:
            return None
        question, work = self._pending
        self._pending = None
        work.wait()
        return [bool(flag) for flag in question.tolist()]
