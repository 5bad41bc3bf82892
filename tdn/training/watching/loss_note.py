"""A note of a host's loss, for the script that started all: several hosts come to one status there.

Where the environment variable TDN_LOST names a file, it is there after a run that a host's loss has
ended, and not while the run goes on, nor after any other end.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def note_loss() -> None:
    """Leave the note; the storage may be what is cut off."""
    if name := os.environ.get("TDN_LOST"):
        with contextlib.suppress(OSError):
            Path(name).touch()


def clear_loss() -> None:
    """Remove the note of a former start."""
    if name := os.environ.get("TDN_LOST"):
        with contextlib.suppress(OSError):
            Path(name).unlink(missing_ok=True)
