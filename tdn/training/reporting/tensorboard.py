"""Curves for TensorBoard, drawn from the record."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from tdn.training.reporting.sinks import Event

_log = logging.getLogger(__name__)


class TensorBoard:
    """Event files: every number of train and validation events as a curve over steps.

    A resumed run draws them anew from the record: what was in a killed process's buffer is there
    again, and nothing twice. So where they cannot be written, as on a full disk, that is told once
    and the run goes on without.
    """

    def __init__(self, folder: Path, former: Sequence[Event] = ()) -> None:
        for path in folder.glob("events.*"):
            if path.stat().st_size:
                os.truncate(path, 0)  # a viewer that watches it would miss it, and see no other
            else:
                path.unlink()
        self._folder = folder
        self._works = True
        self._writer = SummaryWriter(str(folder), purge_step=0)  # it forgets what it has read
        self._hook, threading.excepthook = threading.excepthook, self._on_thread_s_error
        for event in former:
            self.write(event)

    def write(self, event: Event) -> None:
        """Add the event's numbers to the curves."""
        if not self._works or event["event"] not in ("train", "validation"):
            return
        with self._telling():
            for key, value in event.items():
                if isinstance(value, float) and key != "time":
                    name = f"{event['event']}/{key}"
                    self._writer.add_scalar(name, value, event["step"], walltime=event["time"])

    def advance(self) -> None:
        """Steps are not drawn one by one."""

    def sync(self) -> None:
        """Nothing: the curves are drawn again from the record."""

    def close(self) -> None:
        """Write out what is left."""
        if self._works:
            with self._telling():
                self._writer.close()
        threading.excepthook = self._hook

    def _on_thread_s_error(self, error: threading.ExceptHookArgs) -> None:
        """The writer's thread would show a traceback of what ``write`` and ``close`` then raise."""
        if not type(error.thread).__module__.startswith("tensorboard."):
            self._hook(error)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # of the writer's thread, so possibly of an earlier event
            self._works = False
            _log.warning(
                "%s: cannot be written (%s); make room: the next start of this run draws all "
                "curves again",
                self._folder,
                error.strerror,
            )
