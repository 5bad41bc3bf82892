"""One run in a folder at a time.

The main process of a run holds a lock on the folder's file ``.lock``, in which it says who it is.
The kernel releases it when the process ends, however it ends, so nothing has to be cleaned up after
a crash; on NFS the server does so for a machine that is lost, after about a minute and a half.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tdn.errors import UserError
from tdn.training.processes.launch import this_launch
from tdn.training.saving.run_folder import make_folder

_log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds to wait for a run that may be about to end, such as one that was asked to stop."""
PATIENCE_OF_RESTART = 120.0
"""Seconds, where torchrun has restarted the run after its machine was lost."""
_POLL = 0.2


@contextmanager
def run_lock(folder: Path, patience: float | None = None) -> Iterator[None]:
    """Make a run folder and hold it against other runs.

    At the end what is still empty of the folders made for it goes again: a run that is refused
    before it began leaves nothing.

    Args:
        folder: The run folder.
        patience: Seconds to wait for a run that has it.

    Raises:
        UserError: It cannot be made or written, or another run has it; says which.
    """
    if patience is None:
        patience = PATIENCE_OF_RESTART if this_launch().restarts else PATIENCE
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    file = _acquire(folder, patience)
    with file:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                _path(folder).unlink(missing_ok=True)
            for path in made:
                with contextlib.suppress(OSError):  # something is in it
                    path.rmdir()


def _acquire(folder: Path, patience: float) -> IO[bytes]:
    """The lock's file, locked and signed."""
    deadline, told = time.monotonic() + patience, False
    while True:
        file = _open(folder)
        if _lock(file, folder):
            if _is_at(file, _path(folder)):
                file.truncate(0)
                with contextlib.suppress(OSError):  # a full disk, of which the run will tell
                    file.write(json.dumps(_self_description()).encode() + b"\n")
                return file
            file.close()  # the run that had it took it away
            continue
        holder = _holder(file)
        file.close()
        if time.monotonic() >= deadline:
            raise UserError(
                f"output: {folder} is in use by {holder}; wait for it, stop it, or choose another "
                "folder"
            )
        if not told:
            _log.info("output: %s is in use by %s; waiting for it to end", folder, holder)
            told = True
        time.sleep(_POLL)


def _path(folder: Path) -> Path:
    return folder / ".lock"


def _open(folder: Path) -> IO[bytes]:
    while True:
        make_folder(folder)
        try:
            return _path(folder).open("ab+", buffering=0)
        except FileNotFoundError:  # a run that ended took the folder away too
            continue
        except OSError as error:
            raise UserError(
                f"output: {_path(folder)} cannot be opened ({error.strerror}); choose another "
                "folder"
            ) from None


def _lock(file: IO[bytes], folder: Path) -> bool:
    """Whether this process has the lock now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        _log.warning(
            "output: %s cannot be locked (%s); see to it that no other run writes there",
            folder,
            error.strerror,
        )
    return True


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether the open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _self_description() -> dict[str, object]:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"host": platform.node(), "process": os.getpid(), "since": since}


def _holder(file: IO[bytes]) -> str:
    """Who has the lock, in words."""
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return f"process {holder['process']} on {holder['host']} since {holder['since']}"
    except ValueError:  # it is just writing
        return "another run"
