"""The journal of an index that is being made: what was found so far, a line per clip."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tdn.errors import UserError
from tdn.pipelines.files.locks import lock
from tdn.pipelines.indexing.probe import Probe
from tdn.pipelines.manifests.manifest import FORMAT

_log = logging.getLogger(__name__)

_FLUSH = 1.0
"""Seconds of work that may be lost."""


class Journal:
    """A file of JSON lines beside a manifest; its first line says how the clips were probed.

    Args:
        manifest: The manifest's path.
        template: Format of picture names that was asked for.
    """

    def __init__(self, manifest: Path, template: str) -> None:
        self.manifest = manifest
        self.path = manifest.with_name(f"{manifest.name}.journal")
        self._head = _line(
            {"tdn journal": FORMAT.decode(), "fields": Probe._fields, "template": template}
        )

    def read(self) -> dict[str, Probe]:
        """What an interrupted run found, by the clips' keys; of a damaged file, what is before."""
        return self._read()[0]

    def _read(self) -> tuple[dict[str, Probe], int]:
        """What was found, and where in the file the last whole line ends."""
        found: dict[str, Probe] = {}
        end = 0
        try:
            with self.path.open("rb") as file:
                for line in file:
                    if end == 0:
                        if line != self._head:  # of another version, or another template
                            break
                    elif not line.endswith(b"\n"):
                        break
                    else:
                        key, *values = json.loads(line)
                        found[key] = Probe(*values)
                    end += len(line)
        except (OSError, ValueError, TypeError):
            pass
        return found, end

    @contextmanager
    def opened(self) -> Iterator[Callable[[str, Probe], None]]:
        """Yields a function that notes a clip's probe; one process at a time may.

        Raises:
            UserError: The file cannot be written, or another process is writing it.
        """
        with self._telling():
            file, locked = self._open()
        if not locked:  # two processes would mix their lines
            _log.warning("%s: cannot be locked; if interrupted, indexing begins anew", self.path)
        flushed = 0.0

        def note(key: str, probe: Probe) -> None:
            nonlocal flushed
            if not locked:
                return
            with self._telling():
                file.write(_line([key, *probe]))
                if time.monotonic() - flushed > _FLUSH:
                    file.flush()
                    flushed = time.monotonic()

        try:
            yield note
        finally:
            with self._telling():
                file.close()

    def _open(self) -> tuple[IO[bytes], bool]:
        """The file, with its whole lines, and whether it could be locked."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Not emptied before it is locked.
        file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
        try:
            locked = lock(file, wait=False)
        except BlockingIOError:
            file.close()
            raise UserError(
                f"{self.manifest}: another process is making it; wait for it, or choose another "
                "output"
            ) from None
        if locked:
            end = self._read()[1]
            file.truncate(end)
            file.seek(end)
            if end == 0:
                file.write(self._head)
        return file, locked

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self.manifest}: cannot be written: {error.strerror}; choose another output"
            ) from None

    def remove(self) -> None:
        """Delete it: the manifest holds everything."""
        self.path.unlink(missing_ok=True)


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"
