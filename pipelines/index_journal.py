"""The journal of an index that is being made: what was found so far, a line per clip."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tdn.errors import UserError
from tdn.pipelines.probe import Probe

_FLUSH = 1.0
"""Seconds of work that may be lost."""


class Journal:
    """A file of JSON lines beside a manifest; its first line says how the clips were probed."""

    def __init__(self, manifest: Path, template: str) -> None:
        self.path = manifest.with_name(f"{manifest.name}.journal")
        self._head = json.dumps({"tdn journal": Probe._fields, "template": template})

    def read(self) -> dict[str, Probe]:
        """What an interrupted run found, by the clips' keys; of a cut file, its whole lines."""
        found: dict[str, Probe] = {}
        try:
            with self.path.open(encoding="utf-8") as file:
                if file.readline().rstrip("\n") != self._head:
                    return {}
                for line in file:
                    key, *values = json.loads(line)
                    found[key] = Probe(*values)
        except (OSError, ValueError, TypeError):
            pass  # a line that was cut off ends it
        return found

    @contextmanager
    def opened(self) -> Iterator[Callable[[str, Any], None]]:
        """Yields a function that notes a clip's probe, from any thread.

        Raises:
            UserError: The file cannot be written.
        """
        known = self.read()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Written anew: what a cut line would spoil is in `known`.
            file = self.path.open("w", encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written: {error.strerror}; choose another output"
            ) from None
        lock, flushed = threading.Lock(), time.monotonic()

        def note(key: str, probe: Any) -> None:
            nonlocal flushed
            with lock:
                file.write(json.dumps([key, *probe]) + "\n")
                if time.monotonic() - flushed > _FLUSH:
                    file.flush()
                    flushed = time.monotonic()

        with file:
            file.write(self._head + "\n")
            for key, probe in known.items():
                file.write(json.dumps([key, *probe]) + "\n")
            file.flush()
            yield note

    def remove(self) -> None:
        """Delete it: the manifest holds everything."""
        self.path.unlink(missing_ok=True)
