"""Profiles of a run: what Python and the device did in some of its steps, by torch's profiler.

    tdn train --config my.yaml --profile 10..15

Every process writes its trace and its tables to <output>/profile; the main one prints its tables.
Traces open in https://ui.perfetto.dev and chrome://tracing. The run's results stay the same.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from torch.profiler import ProfilerAction, ProfilerActivity, profile, record_function

from tdn.errors import UserError
from tdn.training.processes.distributed import Processes
from tdn.training.processes.whereabouts import PROFILING
from tdn.training.saving.checkpoint_file import REMEDY

_ROWS = 10
_log = logging.getLogger(__name__)


class StepRange(NamedTuple):
    """Steps of a session, counted from 1; both ends belong to it."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"


def parse_steps(text: str) -> StepRange:
    """The range that ``--profile`` gives, such as 10..15.

    Raises:
        UserError: It is no range.
    """
    found = re.fullmatch(r"([0-9]+)\.\.([0-9]+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(
            f"--profile: {text!r} is no range of steps; give the first and the last one, counted "
            "from 1 in this session, such as 10..15"
        )
    return StepRange(int(found[1]), int(found[2]))


class StepProfiler:
    """Records some steps of a session. A context: it ends what is being recorded.

    Args:
        steps: Which ones; None for none.
        steps_left: How many the session has.
        resumed: Whether it goes on from a checkpoint. The same command may have come again, or
            ``torchrun`` has: what goes past the end is left out then, with a warning.
        folder: Where traces and tables are put.
        processes: Those of the run.

    Raises:
        UserError: A new run has fewer steps.
    """

    def __init__(
        self,
        steps: StepRange | None,
        steps_left: int,
        resumed: bool,
        folder: Path,
        processes: Processes,
    ) -> None:
        if steps is not None and steps.last > steps_left:
            problem = f"--profile: {steps} goes past the end of the run"
            if not resumed:
                raise UserError(
                    f"{problem}; it has {steps_left} steps, give some within 1..{steps_left}"
                )
            if processes.is_main:
                _log.warning("%s, of which %d steps are left", problem, steps_left)
            steps = StepRange(steps.first, steps_left) if steps.first <= steps_left else None
        self._steps = steps
        self._folder = folder
        self._processes = processes
        self._on_gpu = processes.device.type == "cuda"
        self._begun = 0
        self._profile: profile | None = None
        self._phases: set[str] = set()
        self._phase: record_function | None = None

    def __enter__(self) -> StepProfiler:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._profile is not None:
            recorded = self._stop(self._profile)
            if error is None and self._steps is not None and self._begun >= self._steps.first:
                self._write(recorded, self._steps)

    def begin_step(self) -> None:
        """A step begins; all processes call this before each one.

        Raises:
            UserError: The recorded steps cannot be written.
        """
        if self._steps is None:
            return
        self._begun += 1
        first, last = self._steps
        if self._profile is not None:
            self._profile.step()
        if self._begun == max(1, first - 1):  # a step early: the profiler's own first one is slow
            self._profile = self._start(warm_up=first - self._begun, count=last - first + 1)
        if self._begun == last + 1 and self._profile is not None:
            self._write(self._stop(self._profile), self._steps)

    def _start(self, warm_up: int, count: int) -> profile:
        activities = [ProfilerActivity.CPU]
        if self._on_gpu:
            activities.append(ProfilerActivity.CUDA)
        recorder = profile(
            activities=activities,
            schedule=partial(_action, warm_up, warm_up + count),
            record_shapes=True,
        )
        recorder.start()
        self._processes.whereabouts.followers.append(self._follow)
        return recorder

    def _stop(self, recorder: profile) -> profile:
        self._processes.whereabouts.followers.remove(self._follow)
        self._end_phase()
        recorder.stop()
        self._profile = None
        return recorder

    def _follow(self, phase: str) -> None:
        """Make a phase of the step a range of the trace."""
        self._end_phase()
        self._phases.add(phase)
        self._phase = record_function(phase)
        self._phase.__enter__()

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._phase.__exit__(None, None, None)
            self._phase = None

    def _write(self, recorded: profile, steps: StepRange) -> None:
        """Write trace and tables; all processes get here at the same step."""
        self._processes.whereabouts.note(PROFILING)
        name = f"steps-{steps.first}-{steps.last}-process-{self._processes.rank}"
        trace = self._folder / f"{name}.json.gz"
        tables = summarise(recorded.key_averages(), self._phases, self._on_gpu)
        with self._processes.failing_together():
            try:
                self._folder.mkdir(exist_ok=True)
                recorded.export_chrome_trace(str(trace))
                trace.with_name(f"{name}.txt").write_text(tables)
            except OSError as error:
                reason = error.strerror
                raise UserError(f"{trace}: cannot be written ({reason}); {REMEDY}") from None
        if self._processes.is_main:
            print(f"{tables}profile of steps {steps}: {trace}", flush=True)


def _action(first: int, end: int, step: int) -> ProfilerAction:
    """torch's ``schedule`` of one recording, without its warning if nothing warms up."""
    if step < first:
        return ProfilerAction.WARMUP
    if step < end - 1:
        return ProfilerAction.RECORD
    return ProfilerAction.RECORD_AND_SAVE if step < end else ProfilerAction.NONE


def summarise(averages: Iterable[Any], phases: Collection[str], on_gpu: bool) -> str:
    """Two tables as text: the phases of the steps, and the operators that took the most time.

    Args:
        averages: torch's ``key_averages()``.
        phases: Their names.
        on_gpu: Whether the GPU's time counts for operators, or the CPU's. Phases are of the CPU's
            time in any case: on a GPU, of launching its work.
    """
    of_phases = [
        (event.cpu_time_total / 1e3, event.count, event.key)
        for event in averages
        if event.key in phases
    ]
    attribute = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    operators = [
        (getattr(event, attribute) / 1e3, event.count, event.key)
        for event in averages
        if not event.is_user_annotation
    ]
    device = "GPU" if on_gpu else "CPU"
    return _table("CPU", "phase", of_phases) + _table(device, "operator", operators)


def _table(device: str, kind: str, rows: Sequence[tuple[float, int, str]]) -> str:
    total = sum(milliseconds for milliseconds, _, _ in rows) or 1.0
    lines = [f"{device + ' ms':>10} {'%':>5} {'calls':>7}  {kind}"]
    for milliseconds, calls, name in sorted(rows, reverse=True)[:_ROWS]:
        share = 100 * milliseconds / total
        lines.append(f"{milliseconds:10.1f} {share:5.1f} {calls:7d}  {name[:70]}")
    return "\n".join(lines) + "\n"
