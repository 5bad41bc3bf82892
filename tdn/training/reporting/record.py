"""log.jsonl, the record of a run: all that others draw or tell is in it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tdn.files import write_text_atomically
from tdn.training.reporting.sinks import Event
from tdn.training.saving.checkpoint_file import REMEDY


class JsonLines:
    """log.jsonl: one event a line; a resumed run repeats no step.

    Args:
        path: The file.
        step: Finished steps so far; what is recorded of later ones is dropped.
        validation_due: Whether the validation after this step comes again.
    """

    def __init__(self, path: Path, step: int, validation_due: bool = False) -> None:
        self.kept: list[Event] = []
        """What a former session wrote up to the step; the rest is cut off."""
        if path.exists():
            past = _events_until(step, path.read_text())
            coming = ("validation", step) if validation_due else ()
            self.kept = [event for event in past if (event["event"], event["step"]) != coming]
            lines = (json.dumps(event) + "\n" for event in self.kept)
            write_text_atomically(path, "".join(lines), REMEDY)
        self._file = path.open("ab", buffering=0)

    def write(self, event: Event) -> None:
        """Append the event at once, so that a crash loses nothing."""
        numbers = {key: _finite(value) for key, value in event.items()}
        self._file.write((json.dumps(numbers, allow_nan=False) + "\n").encode())

    def advance(self) -> None:
        """Steps are not logged one by one."""

    def sync(self) -> None:
        """Wait for the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _events_until(step: int, text: str) -> Iterator[Event]:
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # cut off by a crash
            continue
        if event["step"] <= step:
            yield event


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
