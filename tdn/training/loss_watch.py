"""Looking at the losses, now and then, for steps whose numbers have left the finite.

Asking the device for every step's loss would make Python wait for it. So they stay there until the
log or a checkpoint is written. Meanwhile the steps have gone on: with ``training.non_finite`` stop
nothing of that is saved; with skip nothing has changed (``tdn.training.optimizing.update_guard``).

In fp16 gradients overflow now and then because the loss scale is too large, and it is then lowered
(Micikevicius et al. 2018, section 3.2). Those steps are counted apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tdn.config import TrainingConfig
from tdn.training.precision import Precision
from tdn.training.processes.distributed import Processes
from tdn.training.state import RunState
from tdn.training.step import StepResult

_LISTED = 32
"""Rows that a message names."""
_OVERFLOWS = 40
"""Steps in a row after which no loss scale will do: it has been halved so many times."""


class _Odd(NamedTuple):
    """A step that is not finite, as one process sees it."""

    step: int
    loss: bool
    """Whether it is the loss; else the gradients, which are everybody's."""
    rows: list[int]


class LossWatch:
    """Keeps every step's loss until it is looked at.

    Args:
        training: ``non_finite`` and ``non_finite_limit`` are read.
        precision: What the network computes in.
        processes: Those of the run.
        state: Gets the counts.
        record: Writes an event to the log.
    """

    def __init__(
        self,
        training: TrainingConfig,
        precision: Precision,
        processes: Processes,
        state: RunState,
        record: Callable[..., None],
    ) -> None:
        self._training = training
        self._scaled = precision.name == "fp16"
        self._processes = processes
        self._state = state
        self._record = record
        self._steps: list[tuple[int, Tensor, Tensor]] = []
        """Number, rows, and loss with gradient norm."""

    def add(self, step: int, result: StepResult) -> None:
        """Take note of a step; its number counts from 0."""
        numbers = torch.stack((result.loss, result.gradient_norm))
        self._steps.append((step, result.rows, numbers))

    def look(self) -> None:
        """Look at the steps since the last look, which waits for the device; all must call this.

        Raises:
            UserError: One is not finite, or too many in a row are; names the step and its rows.
        """
        steps = [step for step, _, _ in self._steps]
        odd = self._own()
        self._steps.clear()
        found: list[_Odd] = []
        if self._processes.any(bool(odd)):
            found = [_Odd(*each) for part in self._processes.gather(odd) for each in part]
        for step in steps:
            self._judge(step, [each for each in found if each.step == step])

    def _own(self) -> list[_Odd]:
        if not self._steps:
            return []
        numbers = torch.stack([pair for _, _, pair in self._steps]).tolist()
        return [
            _Odd(step, not math.isfinite(loss), rows.tolist())
            for (step, rows, _), (loss, norm) in zip(self._steps, numbers, strict=True)
            if not (math.isfinite(loss) and math.isfinite(norm))
        ]

    def _judge(self, step: int, odd: Sequence[_Odd]) -> None:
        state, training = self._state, self._training
        if not odd:
            state.skipped_in_row = 0
            return
        of_loss = [each for each in odd if each.loss]
        rows = np.unique([row for each in of_loss or odd for row in each.rows]).tolist()
        what = "loss" if of_loss else "gradient"
        told = (
            f"step {step + 1}: the {what} is not finite, on rows {_listed(rows)} of "
            "data.train_list (from 0)"
        )
        state.skipped_in_row += 1
        if self._scaled and not of_loss:
            state.overflows += 1
            limit = _OVERFLOWS
        elif training.non_finite == "stop":
            self._record("not_finite", step=step + 1, reason=what, rows=rows)
            raise self._processes.failure(
                f"{told}; look at these videos, lower optimizer.lr, or set training.non_finite skip"
            )
        else:
            state.skipped += 1
            limit = training.non_finite_limit
            self._record("skipped", step=step + 1, reason=what, rows=rows)
        if state.skipped_in_row > limit:
            raise self._processes.failure(
                f"{told}, the last of {state.skipped_in_row} steps in a row that were left out; "
                "lower optimizer.lr, or use training.precision bf16 or fp32"
            )


def _listed(rows: Sequence[int]) -> str:
    more = f" and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
    return ", ".join(map(str, rows[:_LISTED])) + more
