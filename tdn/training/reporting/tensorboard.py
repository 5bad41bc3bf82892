"""Curves for TensorBoard, drawn from the record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from tdn.training.reporting.sinks import Event


class TensorBoard:
    """Event files: every number of train and validation events as a curve over steps.

    A resumed run draws them anew from the record: what was in a killed process's buffer is there
    again, and nothing twice.
    """

    def __init__(self, folder: Path, former: Sequence[Event] = ()) -> None:
        for path in folder.glob("events.*"):
            if path.stat().st_size:
                os.truncate(path, 0)  # a viewer that watches it would miss it, and see no other
            else:
                path.unlink()
        self._writer = SummaryWriter(str(folder), purge_step=0)  # it forgets what it has read
        for event in former:
            self.write(event)

    def write(self, event: Event) -> None:
        """Add the event's numbers to the curves."""
        if event["event"] not in ("train", "validation"):
            return
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
        self._writer.close()
